import { setTimeout } from 'node:timers/promises'

import type { Tree } from 'holt'

import { randomBelow } from '../workloads/shuffle.js'
import { fillValue, VALUE_BYTES } from './own-value.js'

const PAUSE_MS = 1

/** Writes random keys anew, so many in a second, on this thread. */
export class PacedWriter {
  readonly #tree: Tree<string, Uint8Array>
  readonly #keys: readonly string[]
  readonly #perSecond: number
  readonly #generations: Uint32Array
  readonly #random = randomBelow(0xbee)
  readonly #value = new Uint8Array(VALUE_BYTES)
  writes = 0

  constructor(tree: Tree<string, Uint8Array>, keys: readonly string[], perSecond: number) {
    this.#tree = tree
    this.#keys = keys
    this.#perSecond = perSecond
    this.#generations = new Uint32Array(keys.length)
  }

  /** Writes until `reading` is over. */
  async during<T>(reading: Promise<T>): Promise<T> {
    let isOver = false
    const ended = reading.finally(() => (isOver = true))
    ended.catch(() => undefined)
    const start = performance.now()
    let done = 0
    while (!isOver) {
      const due = ((performance.now() - start) * this.#perSecond) / 1_000
      let newest: Promise<void> | undefined
      for (; done < due; done++) newest = this.#write()
      await newest
      await setTimeout(PAUSE_MS)
    }
    this.writes += done
    return ended
  }

  #write(): Promise<void> {
    const index = this.#random(this.#keys.length)
    fillValue(this.#value, index, ++this.#generations[index])
    return this.#tree.put(this.#keys[index], this.#value)
  }
}
