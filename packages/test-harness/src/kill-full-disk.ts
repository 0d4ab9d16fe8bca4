import { closeSync, openSync, statfsSync, writeFileSync, writeSync } from 'node:fs'

/** Writes after which the room that is left is taken away. */
const WRITES_BETWEEN = 300
const LEFT_BYTES = 300_000
/** Refusals after which there is room again; and the time after which there is in any case, since some wait instead. */
const REFUSALS = 3
const MOST_MS = 120
const CHUNK = Buffer.alloc(1 << 20)

/** Fills the file system that a database lies on, and gives room again once writes were refused. */
export class FullDisk {
  readonly #path: string
  #writes = 0
  #refusals = 0

  constructor(path: string) {
    this.#path = path
  }

  beforeWrite(): void {
    if (++this.#writes % WRITES_BETWEEN !== 0) return
    const { bavail, bsize } = statfsSync(this.#path.slice(0, this.#path.lastIndexOf('/')))
    const file = openSync(this.#path, 'a')
    try {
      for (let left = bavail * bsize - LEFT_BYTES; left > 0; left -= CHUNK.byteLength)
        writeSync(file, CHUNK, 0, Math.min(left, CHUNK.byteLength))
    } catch (error) {
      // Others take room at the same time: then it is full now.
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
    } finally {
      closeSync(file)
    }
    setTimeout(() => {
      this.#giveRoom()
    }, MOST_MS)
  }

  async afterRefusal(): Promise<void> {
    if (++this.#refusals % REFUSALS === 0) this.#giveRoom()
    await new Promise((resolve) => setTimeout(resolve, 3))
  }

  #giveRoom(): void {
    writeFileSync(this.#path, '')
  }
}
