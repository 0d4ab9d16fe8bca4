import { expect } from 'vitest'
import { ArtIndex } from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { fillPattern, foundValue } from './values.js'

/** A small seeded generator of numbers in [0, 1) (mulberry32's recurrence). */
export function random(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Kept {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly version: number
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** An index beside a Map that is told the same; every operation compares what both say. */
export class ModelledIndex {
  readonly source: ArrayFrameSource
  readonly index: ArtIndex
  readonly map = new Map<string, Kept>()
  readonly #scratch = new Uint8Array(400_000)
  #version = 2 ** 32 - 50

  constructor(options: { usableFrameBytes?: number; frames?: number; moveOnWrite?: boolean } = {}) {
    this.source = new ArrayFrameSource({
      frames: options.frames ?? 64,
      moveOnWrite: options.moveOnWrite ?? false,
    })
    this.index = ArtIndex.create(
      this.source,
      options.usableFrameBytes === undefined ? {} : { usableFrameBytes: options.usableFrameBytes },
    )
  }

  /** Puts a value of `length` bytes that differs from put to put. */
  put(key: Uint8Array, length: number): void {
    const version = ++this.#version
    const offset = version % 5
    fillPattern(this.#scratch.subarray(offset, offset + length), version % 1_000)
    this.index.key.set(key)
    const name = Buffer.from(key).toString('hex')
    const isNew = this.index.put(key.length, this.#scratch, offset, length, version)
    expect(isNew).toBe(!this.map.has(name))
    this.map.set(name, { key: key.slice(), value: this.#scratch.slice(offset, offset + length), version })
  }

  delete(key: Uint8Array): void {
    this.index.key.set(key)
    expect(this.index.delete(key.length)).toBe(this.map.delete(Buffer.from(key).toString('hex')))
  }

  deleteSome(next: () => number): void {
    let skip = Math.floor(next() * Math.min(this.map.size, 50))
    for (const { key } of this.map.values()) {
      if (skip-- > 0) continue
      this.delete(key)
      return
    }
  }

  check(key: Uint8Array): void {
    const kept = this.map.get(Buffer.from(key).toString('hex'))
    const { index } = this
    index.key.set(key)
    if (index.find(key.length) !== (kept !== undefined)) {
      throw new Error(`find of ${Buffer.from(key).toString('hex')} says ${String(kept === undefined)}`)
    }
    if (kept === undefined) return
    const equal = Buffer.compare(kept.value, foundValue(index)) === 0
    if (!equal || index.foundVersion !== kept.version) {
      throw new Error(`the value or version of ${Buffer.from(key).toString('hex')} differs`)
    }
  }

  checkAll(): void {
    for (const { key } of this.map.values()) this.check(key)
  }

  /** Deletes everything in random order; in the end one frame is left. */
  deleteAll(next: () => number): void {
    const keys = [...this.map.values()].map(({ key }) => key)
    for (let i = keys.length - 1; i > 0; i--) {
      const other = Math.floor(next() * (i + 1))
      const swapped = keys[i] ?? new Uint8Array()
      keys[i] = keys[other] ?? swapped
      keys[other] = swapped
    }
    for (const key of keys) this.delete(key)
    expect(this.map.size).toBe(0)
    expect(this.source.ids).toEqual([this.index.rootId])
  }
}
