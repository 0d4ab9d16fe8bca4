/** A process that is measured: `write SCENE KEYS DIRECTORY` takes turns, `fill` and `recover` die as by `kill -9`. */
import { open } from 'holt'

import {
  CACHE_BYTES,
  keysInOrderOfUse,
  LOAD_SCENES,
  NO_CHECKPOINTS,
  PUT_SCENES,
  VALUE,
  Writer,
  type WriterTurn,
} from './scenes.js'

export interface Replay {
  readonly records: number
  readonly bytes: number
  readonly ms: number
}

/** What it answers to a message, or, for `fill` and `recover`, sends before it dies. */
export type Answer = { readonly turn: WriterTurn } | { readonly replay: Replay } | { readonly error: string }

const [task, ...words] = process.argv.slice(2)

function send(answer: Answer): Promise<void> {
  return new Promise((resolve) =>
    process.send?.(answer, () => {
      resolve()
    }),
  )
}

async function write(sceneName: string, keyCount: number, directory: string): Promise<void> {
  const scene = [...PUT_SCENES, ...LOAD_SCENES].find(({ name }) => name === sceneName)
  if (scene === undefined) throw new Error(`there is no scene '${sceneName}'`)
  const writer = await Writer.create(directory, scene, keyCount)
  process.on('message', (lengthMs) => {
    void writer.turn(Number(lengthMs)).then((turn) => send({ turn }), fail)
  })
  process.once('disconnect', () => {
    void writer.close()
  })
}

/** Leaves a store whose journal holds every put. */
async function fill(keyCount: number, directory: string): Promise<void> {
  const db = await open(directory, {
    cacheBytes: CACHE_BYTES,
    checkpoint: NO_CHECKPOINTS,
    backgroundCompaction: false,
  })
  const tree = await db.tree('objects')
  let newest: Promise<void> | undefined
  for (const [at, key] of keysInOrderOfUse(keyCount).entries()) {
    newest = tree.put(key, VALUE)
    if (at % 1_000 === 999) await newest
  }
  await db.sync()
  await send({ replay: { records: keyCount, bytes: 0, ms: 0 } })
  process.kill(process.pid, 'SIGKILL')
}

/** Opens what {@link fill} left, which changes nothing there, and dies. */
async function recover(keyCount: number, directory: string): Promise<void> {
  const db = await open(directory, { cacheBytes: CACHE_BYTES, checkpoint: NO_CHECKPOINTS })
  const { recovery } = db.stats()
  const { keys } = (await db.tree('objects')).count()
  if (keys !== keyCount || recovery === undefined)
    throw new Error(`${String(keys)} keys were recovered instead of ${String(keyCount)}`)
  await send({
    replay: { records: recovery.replayedRecords, bytes: recovery.replayedBytes, ms: recovery.replayMs },
  })
  process.kill(process.pid, 'SIGKILL')
}

function fail(error: unknown): void {
  void send({ error: error instanceof Error ? error.message : String(error) }).then(() => process.exit(1))
}

const run = {
  write: () => write(words[0], Number(words[1]), words[2]),
  fill: () => fill(Number(words[0]), words[1]),
  recover: () => recover(Number(words[0]), words[1]),
}[task]
if (run === undefined) fail(new Error(`there is no task '${task}'`))
else run().catch(fail)
