import { describe, expect, it } from 'vitest'
import { isHoltError } from '@holt/errors'
import { CROSSING, ENTRY_TABLE, FIRST_REF, LEAF, MAX_USABLE_BYTES, NODE4 } from '../src/layout.js'
import { MIN_USABLE_BYTES } from '../src/index.js'
import { ModelledIndex, random, utf8 } from './modelled-index.js'

describe('a frame whose bytes are wrong', () => {
  it('makes find and touch answer, or throw HOLT_CORRUPT, and nothing else', () => {
    const next = random(21)
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 200 })
    for (let i = 0; i < 1_500; i++)
      model.put(utf8(`d${String(i % 40)}/f${String((i * 7_919) % 1_500)}`), i % 60)
    const { index, source } = model
    const keys = [...model.map.values()].map(({ key }) => key)
    let corrupt = 0
    for (let round = 0; round < 400; round++) {
      const ids = source.ids
      const id = ids[Math.floor(next() * ids.length)] ?? index.rootId
      const bytes = source.bytes(id)
      const kept = bytes.slice()
      for (let i = 0; i < 40; i++) bytes[ENTRY_TABLE + Math.floor(next() * 11_000)] = Math.floor(next() * 256)
      for (let i = 0; i < 40; i++) {
        const key = keys[Math.floor(next() * keys.length)] ?? new Uint8Array()
        index.key.set(key)
        for (const operation of [
          () => index.find(key.length),
          () => {
            index.touch(key.length)
          },
        ]) {
          try {
            operation()
          } catch (error) {
            if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
            expect(error.message).toMatch(/^blob \d+/)
            corrupt++
          }
        }
      }
      bytes.set(kept)
    }
    expect(corrupt).toBeGreaterThan(0)
    model.checkAll()
  })

  const cases: { readonly name: string; readonly units: readonly number[]; readonly ref?: number }[] = [
    { name: 'a node of an unknown type', units: [7, 0, 0] },
    { name: 'a node of type 0', units: [0, 0, 0] },
    { name: 'a ref into page 0', units: [], ref: 3 },
    { name: 'a crossing that leads to its own entry', units: [CROSSING, 1, 0] },
    { name: 'a value that leaves the frame', units: [LEAF | (1 << 3) | (65_535 << 16), 0, 0], ref: 65_000 },
    {
      name: 'a prefix that leaves the frame',
      units: [NODE4 | (1 << 3) | (1 << 16), 0, 0x6161_6161],
      ref: 65_534,
    },
  ]
  for (const { name, units, ref = FIRST_REF } of cases) {
    it(`is HOLT_CORRUPT with the place: ${name}`, () => {
      const model = new ModelledIndex({ usableFrameBytes: MAX_USABLE_BYTES })
      const { index, source } = model
      const bytes = source.bytes(index.rootId)
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      view.setUint16(ENTRY_TABLE, ref, true)
      units.forEach((unit, i) => {
        view.setUint32(ref * 8 + i * 4, unit, true)
      })
      index.key.set(utf8('a'))
      expect(() => index.find(1)).toThrow(expect.objectContaining({ code: 'HOLT_CORRUPT' }))
    })
  }
})
