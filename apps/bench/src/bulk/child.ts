/** A process in which one way is measured: it holds the entries of that way alone, and its code has seen no other. */
import type { Turn } from '../io/rounds.js'
import { entriesOf, takeOne, WAYS } from './ways.js'

/** What it answers; asked for a turn by any message. The first turn does not count: it is the one that is checked. */
export type Answer = { readonly turn: Turn } | { readonly error: string }

/** Keys of a store that is filled first, until the compiler has done its work. */
const WARM_UP_KEYS = 100_000

const [wayNumber, keyCount, directory] = process.argv.slice(2)
const way = WAYS[Number(wayNumber)]
const entries = entriesOf(Number(keyCount), way.isSorted)
let isFirst = true

async function turn(): Promise<Answer> {
  try {
    if (isFirst && entries.length > WARM_UP_KEYS)
      await takeOne(directory, way, entriesOf(WARM_UP_KEYS, way.isSorted), true)
    const taken = await takeOne(directory, way, entries, isFirst)
    isFirst = false
    return { turn: taken }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

process.on('message', () => {
  void turn().then((answer) => process.send?.(answer))
})
