import { objectKeys, shuffled } from './keys.js'
import { LIST_ENTRIES, type Subject } from './subject.js'

export interface Measurement {
  readonly job: string
  /** The median over the rounds, per operation. */
  readonly nanoseconds: number
}

export interface MeasureOptions {
  readonly keyCount: number
  readonly rounds: number
}

const VALUE_BYTES = 60
const LISTS = 500

/** Does every job `rounds` times, after one round that does not count, and takes the medians. */
export async function measure(
  subject: Subject,
  { keyCount, rounds }: MeasureOptions,
): Promise<readonly Measurement[]> {
  const keys = objectKeys(keyCount)
  const value = new Uint8Array(VALUE_BYTES).fill(0x5a)
  const order = shuffled(keys)
  const listed = order.slice(0, Math.min(LISTS, keyCount))

  const loadMs = await timeMs(() => subject.putAll(order, value))
  const put = await median(rounds, () => subject.putAll(order, value))
  const get = await median(rounds, () => expectCount(subject.getAll(order), keyCount))
  const list = await median(rounds, () =>
    expectAtMost(subject.listFromAll(listed), listed.length * LIST_ENTRIES),
  )
  return [
    { job: 'load, random order', nanoseconds: (loadMs * 1e6) / keyCount },
    { job: 'put, overwriting', nanoseconds: (put * 1e6) / keyCount },
    { job: 'get', nanoseconds: (get * 1e6) / keyCount },
    { job: `list ${String(LIST_ENTRIES)} with values`, nanoseconds: (list * 1e6) / listed.length },
  ]
}

async function median(rounds: number, job: () => Promise<void> | void): Promise<number> {
  await job()
  const times: number[] = []
  for (let round = 0; round < rounds; round++) times.push(await timeMs(job))
  times.sort((a, b) => a - b)
  return times[Math.floor(times.length / 2)]
}

async function timeMs(job: () => Promise<void> | void): Promise<number> {
  globalThis.gc?.()
  const startedMs = performance.now()
  await job()
  return performance.now() - startedMs
}

/** A job that did not do its work has no time. */
function expectCount(actual: number, expected: number): void {
  if (actual !== expected) throw new Error(`${String(actual)} keys were found of ${String(expected)}`)
}

function expectAtMost(actual: number, most: number): void {
  if (actual === 0 || actual > most)
    throw new Error(`${String(actual)} entries were listed, at most ${String(most)} exist`)
}
