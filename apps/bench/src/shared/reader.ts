/** The thread that reads along, and believes nothing. Entry of its own; told by `reader-messages.ts`. */
import { parentPort, workerData } from 'node:worker_threads'

import { attach } from 'holt'

import { ThreadClock } from '../run/thread-clock.js'
import { objectStoreKeys } from '../workloads/object-store.js'
import { randomBelow } from '../workloads/shuffle.js'
import { generationOf, WrongAnswer } from './own-value.js'
import {
  LISTED_ENTRIES,
  type ReaderData,
  type ReaderTurn,
  type ReadName,
  TREE_NAME,
  type TurnRequest,
} from './reader-messages.js'

/** Reads between two looks at the clock. */
const READS_PER_LOOK = 32

const { shared, keyCount, seed } = workerData as ReaderData
const tree = attach(shared).tree(TREE_NAME)
const { keys, directories } = objectStoreKeys(keyCount, 0)
const indexOf = new Map(keys.map((key, index) => [key, index]))
/** How often each key had been written when it was last seen. */
const seen = new Uint32Array(keyCount)
const random = randomBelow(seed)
const clock = new ThreadClock()

function see(index: number, value: Uint8Array | undefined): void {
  const generation = generationOf(value, index)
  if (generation < seen[index])
    throw new WrongAnswer(
      `key ${String(index)} has gone back from generation ${String(seen[index])} to ${String(generation)}`,
    )
  seen[index] = generation
}

const READS: Readonly<Record<ReadName, () => void>> = {
  get() {
    const index = random(keyCount)
    see(index, tree.get(keys[index]))
  },
  'list a directory'() {
    const prefix = directories[random(directories.length)]
    const { entries } = tree.list({ prefix, delimiter: '/' })
    let last = ''
    for (const entry of entries) {
      if (entry.kind !== 'prefix') throw new WrongAnswer(`${entry.key} lies directly below ${prefix}`)
      if (!entry.prefix.startsWith(`${prefix}bucket-`) || entry.prefix <= last)
        throw new WrongAnswer(`below ${prefix} lies ${entry.prefix}, behind ${last}`)
      last = entry.prefix
    }
    if (entries.length === 0) throw new WrongAnswer(`${prefix} is empty`)
  },
  'list 100 with values'() {
    const from = keys[random(keyCount)]
    const { entries } = tree.list({ gte: from, limit: LISTED_ENTRIES })
    if (entries[0]?.key !== from) throw new WrongAnswer(`a list from ${from} begins with ${entries[0]?.key}`)
    let last = ''
    for (const { key, value } of entries) {
      const index = indexOf.get(key)
      if (index === undefined || key <= last) throw new WrongAnswer(`behind ${last} comes ${key}`)
      see(index, value)
      last = key
    }
  },
}

function takeTurn({ read, lengthMs }: TurnRequest): ReaderTurn {
  const work = READS[read]
  globalThis.gc?.({ type: 'minor' })
  let reads = 0
  const before = clock.now()
  do {
    for (let i = 0; i < READS_PER_LOOK; i++) work()
    reads += READS_PER_LOOK
  } while (performance.now() - before.wallMs < lengthMs)
  const after = clock.now()
  return {
    reads,
    wallMs: after.wallMs - before.wallMs,
    waitedMs: after.waitedMs - before.waitedMs,
  }
}

// What is wrong is thrown, ends the thread, and so the run.
parentPort?.on('message', (request: TurnRequest) => {
  parentPort?.postMessage(takeTurn(request))
})
parentPort?.postMessage('ready')
