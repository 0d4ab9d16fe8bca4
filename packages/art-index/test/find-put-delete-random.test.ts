import { describe, expect, it } from 'vitest'
import {
  maxInlineValueBytes,
  maxKeyBytes,
  MAX_USABLE_BYTES,
  MIN_USABLE_BYTES,
  verifyTree,
} from '../src/index.js'
import { ModelledIndex, random } from './modelled-index.js'

const ALPHABET = [0x00, 0x01, 0x2f, 0xff, 0x61, 0x62]

function shortKey(next: () => number): Uint8Array {
  const key = new Uint8Array(Math.floor(next() * 13))
  for (let i = 0; i < key.length; i++) key[i] = ALPHABET[Math.floor(next() * ALPHABET.length)] ?? 0
  return key
}

describe('random histories against a Map', () => {
  for (const usableFrameBytes of [MIN_USABLE_BYTES, 16_384, MAX_USABLE_BYTES]) {
    for (const seed of [1, 2, 3]) {
      it(`agree with frames of ${String(usableFrameBytes)} bytes, seed ${String(seed)}`, () => {
        const next = random(seed)
        const inline = maxInlineValueBytes(usableFrameBytes)
        /** Most of them large, one in three just about not. */
        const aroundInline = (of: () => number): number => Math.floor(inline * (0.5 + of() * 1.5))
        const model = new ModelledIndex({ usableFrameBytes, moveOnWrite: seed === 2, frames: 1_500 })
        // Moving a frame copies it whole: fewer steps there.
        const steps = seed === 2 ? 6_000 : 20_000
        for (let step = 0; step < steps; step++) {
          const key = shortKey(next)
          // Waves of growth and of shrinking.
          const puts = Math.floor((step * 5) / steps) % 2 === 0 ? 0.75 : 0.3
          if (next() < puts) model.put(key, next() < 0.01 ? aroundInline(next) : Math.floor(next() * 200))
          else if (next() < 0.7) model.delete(key)
          else model.check(key)
        }
        model.checkAll()
        expect(verifyTree(model.index)).toMatchObject({ problems: [] })
        if (usableFrameBytes < MAX_USABLE_BYTES) expect(model.source.ids.length).toBeGreaterThan(1)
        model.deleteAll(next)
      })
    }
  }

  it('agree with the longest keys and values that the smallest frames take', () => {
    const next = random(7)
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 1_800 })
    const longest = maxKeyBytes(MIN_USABLE_BYTES)
    for (let step = 0; step < 6_000; step++) {
      const key = new Uint8Array(Math.floor(next() * (longest + 1)))
      // Few distinct bytes at few places: long shared paths that part anywhere, and many keys that are prefixes of others.
      for (let i = 0; i < key.length; i++) key[i] = next() < 0.02 ? Math.floor(next() * 256) : 0x61
      if (next() < 0.7)
        model.put(key, Math.floor(next() * next() * (maxInlineValueBytes(MIN_USABLE_BYTES) + 1)))
      else model.deleteSome(next)
    }
    model.checkAll()
    expect(verifyTree(model.index)).toMatchObject({ problems: [] })
    model.deleteAll(next)
  })

  it('agree when every byte value is a child and every child grows (no frame gets stuck on crossings)', () => {
    const next = random(11)
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 1_900 })
    for (let step = 0; step < 12_000; step++) {
      const key = Uint8Array.of(
        0x61,
        0x61,
        Math.floor(next() * 256),
        Math.floor(next() * 256),
        Math.floor(next() * 3),
      )
      model.put(key.subarray(0, 2 + Math.floor(next() * 4)), Math.floor(next() * 120))
    }
    model.put(Uint8Array.of(0x61, 0x61), maxInlineValueBytes(MIN_USABLE_BYTES))
    model.put(Uint8Array.of(0x61), maxInlineValueBytes(MIN_USABLE_BYTES))
    model.put(new Uint8Array(maxKeyBytes(MIN_USABLE_BYTES)).fill(0x61), maxInlineValueBytes(MIN_USABLE_BYTES))
    model.checkAll()
    expect(verifyTree(model.index)).toMatchObject({ problems: [] })
    model.deleteAll(next)
  })
})
