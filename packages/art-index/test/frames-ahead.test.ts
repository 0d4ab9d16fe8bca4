import { describe, expect, it } from 'vitest'
import { ArtIndex, Cursor, END, FrameAbsent, MIN_USABLE_BYTES } from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { Random } from './random.js'
import { bytesOf } from './sorted-map.js'

describe('frames that a walk comes to next', () => {
  for (const reverse of [false, true]) {
    it(`are named in their order, none that it has passed${reverse ? ', backwards' : ''}`, () => {
      const source = new ArrayFrameSource({ frames: 600 })
      const index = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES })
      const random = new Random(3)
      const value = new Uint8Array(100)
      for (let i = 0; i < 5_000; i++) {
        const key = bytesOf(String.fromCharCode(random.below(256), random.below(256), random.below(256)))
        index.key.set(key)
        index.put(key.length, value, 0, 100, i)
      }
      for (const id of source.ids) source.evict(id)
      source.mayBlock = false
      const cursor = new Cursor(index, { reverse })
      expect(cursor.framesAhead(8)).toEqual([])
      const met: number[] = []
      const told: { readonly at: number; readonly ahead: readonly number[] }[] = []
      for (;;) {
        try {
          if (cursor.next() === END) break
        } catch (error) {
          if (!(error instanceof FrameAbsent)) throw error
          const { id } = error
          const ahead = cursor.framesAhead(8)
          expect(ahead.length).toBeLessThanOrEqual(8)
          expect(new Set(ahead).size).toBe(ahead.length)
          told.push({ at: met.length, ahead })
          met.push(id)
          source.mayBlock = true
          source.fault(id)
          source.mayBlock = false
        }
      }
      expect(cursor.framesAhead(8)).toEqual([])
      expect(met.length).toBeGreaterThan(50)
      for (const { at, ahead } of told) {
        const places = ahead.map((id) => met.indexOf(id))
        expect(places).toEqual([...places].sort((a, b) => a - b))
        for (const place of places) expect(place).toBeGreaterThanOrEqual(at)
      }
      // Once it has found the node above them, a walk knows of almost every frame before it comes there.
      const foretold = new Set(told.flatMap(({ at, ahead }) => ahead.filter((id) => met[at] !== id)))
      expect(foretold.size).toBeGreaterThan(met.length / 2)
    })
  }
})
