import { createHash } from 'node:crypto'

import { drawStyle } from './crash-image.js'
import type { CrashOptions } from './crash-image.js'
import { DiskState } from './disk-state.js'
import { matchesPath } from './fault-rules.js'
import { SeededRandom } from './seeded-random.js'
import { SIM_PAGE_BYTES, type SimFile } from './sim-file.js'
import { SimIo } from './sim-io.js'
import type { SimHost, SimProcessOptions } from './sim-io.js'

export interface SimDiskOptions {
  /** Everything random follows from it. Default 1. */
  readonly seed?: number
  /** Bytes of file space. Default no limit. */
  readonly capacityBytes?: number
}

/** One bit of a file, counted from the lowest of its byte. */
export interface RottenBit {
  readonly path: string
  readonly offsetBytes: number
  /** 0 … 7 */
  readonly bit: number
}

/** Which bits go bad. */
export interface RotOptions {
  readonly seed: number
  /** The end of the path, or an expression that it matches. Default every file. */
  readonly path?: string | RegExp
  /** How many. Default 1. */
  readonly bits?: number
}

/**
 * A disk in memory. Processes run on it (`start`), die (`kill`), and the power can fail (`crash`); see `sim-io.ts` for
 * what each leaves.
 *
 * ```ts
 * const disk = new SimDisk({ seed: 7 })
 * const io = disk.start()
 * …                                  // write through io
 * io.kill()                          // the page cache lives on
 * const again = disk.start()         // reopen, write more
 * const after = disk.crash(8)        // another disk: one that a power loss may leave
 * ```
 */
export class SimDisk {
  readonly #random: SeededRandom
  readonly #host: SimHost
  readonly #processes: SimIo[] = []

  constructor(options: SimDiskOptions = {}, state = new DiskState()) {
    this.#random = new SeededRandom(options.seed ?? 1)
    this.#host = { state, livePids: new Set(), locked: new Set() }
    if (options.capacityBytes !== undefined) state.capacityBytes = options.capacityBytes
  }

  /** Begins a process. Several may run at once. */
  start(options: SimProcessOptions = {}): SimIo {
    const io = new SimIo(this.#host, this.#random.fork(), options)
    this.#processes.push(io)
    return io
  }

  /** Kills every process on the disk. */
  kill(): void {
    for (const io of this.#processes.splice(0)) io.kill()
  }

  /**
   * A disk that a power loss at this moment may leave. This one and its processes go on. Many seeds give many disks;
   * the same seed at the same moment gives the same one.
   */
  crashImage(crash: CrashOptions | number): SimDisk {
    const options = typeof crash === 'number' ? { seed: crash } : crash
    const random = new SeededRandom(options.seed)
    const copy = this.#host.state.glance()
    for (const io of this.#processes) if (!io.isKilled) io.tearOn(copy, random)
    const state = copy.afterPowerLoss(random, drawStyle(random, options))
    return new SimDisk({ seed: random.uint32() }, state)
  }

  /** The power fails: every process dies, and the disk that is left is returned. This one is of no use any more. */
  crash(crash: CrashOptions | number): SimDisk {
    const after = this.crashImage(crash)
    this.kill()
    return after
  }

  /** A copy of the disk with its page cache, as a process killed now would leave it. */
  killImage(seed: number): SimDisk {
    const random = new SeededRandom(seed)
    const copy = this.#host.state.clone()
    for (const io of this.#processes) if (!io.isKilled) io.tearOn(copy, random)
    copy.closeAll()
    return new SimDisk({ seed: random.uint32() }, copy)
  }

  get capacityBytes(): number {
    return this.#host.state.capacityBytes
  }
  /** Makes space, or takes it away. */
  set capacityBytes(bytes: number) {
    this.#host.state.capacityBytes = bytes
  }
  get usedBytes(): number {
    return this.#host.state.usedBytes
  }

  // ---- looking in from outside -----------------------------------------------------------------------------------

  /** Names of a directory, sorted; those of its directories end with `/`. Empty when it is absent. */
  list(directory: string): string[] {
    const { state } = this.#host
    if (state.lookup(directory)?.kind !== 'directory') return []
    return state
      .list(directory)
      .map((name) => (state.lookup(`${directory}/${name}`)?.kind === 'directory' ? `${name}/` : name))
      .sort()
  }

  /** A file's present bytes; undefined when it is absent. */
  contents(path: string): Uint8Array | undefined {
    const found = this.#host.state.lookup(path)
    if (found?.kind !== 'file') return undefined
    const file = this.#host.state.file(found.inode)
    const bytes = new Uint8Array(file.sizeBytes)
    file.read(0, bytes)
    return bytes
  }

  /** A hash of all names and bytes that a process would find: another one for every other disk. */
  digest(): string {
    const { state } = this.#host
    let text = ''
    for (const path of state.filePaths()) {
      const file = this.#file(path)
      text += `${path} ${String(file.sizeBytes)}\n`
      for (const [page, bytes] of file.pages()) {
        const digest = pageDigest(bytes)
        if (digest !== ZERO_PAGE) text += `${String(page)} ${digest}\n`
      }
    }
    return createHash('sha1').update(text).digest('base64')
  }

  /**
   * Bits of synced bytes go bad, now; see the fault model for who sees it. Either one named bit, or as many as wanted,
   * drawn from a seed evenly over the bytes of the files that are meant. Returns which they were.
   *
   * ```ts
   * disk.rot({ path: '/db/blobs.dat', offsetBytes: 4099, bit: 7 })
   * disk.rot({ seed: 5, path: /\.wal$/, bits: 3 })
   * ```
   *
   * @throws RangeError for a place that holds no synced byte, or when no file that is meant holds any
   */
  rot(what: RottenBit | RotOptions): RottenBit[] {
    const places = 'bit' in what ? [what] : this.#drawRot(what)
    for (const { path, offsetBytes, bit } of places) {
      const file = this.#file(path)
      const isPlace = Number.isInteger(offsetBytes) && offsetBytes >= 0 && offsetBytes < file.stableSizeBytes
      if (!isPlace || !Number.isInteger(bit) || bit < 0 || bit > 7) {
        throw new RangeError(
          `'${path}' has no synced bit ${String(bit)} at ${String(offsetBytes)}: ` +
            `${String(file.stableSizeBytes)} bytes of it are synced`,
        )
      }
      file.flipStableBit(offsetBytes, bit)
    }
    return places
  }

  #drawRot({ seed, path, bits = 1 }: RotOptions): RottenBit[] {
    const random = new SeededRandom(seed)
    const meant = this.#host.state
      .filePaths()
      .filter((found) => path === undefined || matchesPath(path, found))
    const files = meant.map((found) => ({ path: found, sizeBytes: this.#file(found).stableSizeBytes }))
    const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    if (totalBytes === 0) throw new RangeError('no synced byte is there to go bad')
    return Array.from({ length: bits }, () => {
      let offsetBytes = random.below(totalBytes)
      for (const file of files) {
        if (offsetBytes < file.sizeBytes) return { path: file.path, offsetBytes, bit: random.below(8) }
        offsetBytes -= file.sizeBytes
      }
      throw new RangeError('no synced byte is there to go bad')
    })
  }

  #file(path: string): SimFile {
    const found = this.#host.state.lookup(path)
    if (found?.kind !== 'file') throw new RangeError(`no file '${path}' on the simulated disk`)
    return this.#host.state.file(found.inode)
  }

  /** Changes bytes on the medium and in the cache behind everybody's back, as a hostile hand would. */
  overwrite(path: string, offsetBytes: number, bytes: Uint8Array): void {
    const file = this.#file(path)
    file.write(offsetBytes, bytes)
    file.commitRange(offsetBytes, bytes.byteLength)
  }

  /** Cuts a file off, or extends it with zeros, behind everybody's back. */
  resize(path: string, sizeBytes: number): void {
    const file = this.#file(path)
    file.truncate(sizeBytes)
    file.commit(file.capture())
  }
}

/** Pages are values that many disks share, so that each is hashed once. */
const pageDigests = new WeakMap<Uint8Array, string>()

function pageDigest(bytes: Uint8Array): string {
  // What lies in a mapping changes under our hands.
  const isValue = bytes.byteLength === bytes.buffer.byteLength
  let digest = isValue ? pageDigests.get(bytes) : undefined
  if (digest === undefined) {
    digest = createHash('sha1').update(bytes).digest('base64')
    if (isValue) pageDigests.set(bytes, digest)
  }
  return digest
}

const ZERO_PAGE = createHash('sha1').update(new Uint8Array(SIM_PAGE_BYTES)).digest('base64')
