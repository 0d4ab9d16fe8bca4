import { isHoltError } from '@holt/errors'
import { describe, expect, it } from 'vitest'
import { Cursor, END, EntryRun, MAX_KEY_BYTES, MIN_USABLE_BYTES } from '../src/index.js'
import { ENTRY_TABLE } from '../src/layout.js'
import { entriesOf, gapsOf, list } from './listing.js'
import { ModelledIndex, random, utf8 } from './modelled-index.js'
import { latin1 } from './sorted-map.js'

function filled(keys: readonly string[], usableFrameBytes = MIN_USABLE_BYTES): ModelledIndex {
  const model = new ModelledIndex({ usableFrameBytes, frames: 200 })
  for (const [i, key] of keys.entries()) model.put(utf8(key), i % 60)
  return model
}

const names = Array.from({ length: 40 }, (_, i) => `dir/${String(i).padStart(3, '0')}${'x'.repeat(i % 5)}`)

describe('entries taken in one go', () => {
  it('are those that single steps give, and the walk goes on behind them', () => {
    const { index } = filled(names)
    const all = list(new Cursor(index))
    expect(all.length).toBe(names.length)
    for (const most of [1, 2, 7, 100]) {
      const run = new EntryRun(100, 0, MAX_KEY_BYTES, 4_096, 4_096)
      const cursor = new Cursor(index)
      const listed = list(cursor, { run, mostTaken: () => most })
      expect(listed).toEqual(all)
      expect(cursor.take(run, most)).toBe(0)
    }
  })

  it('are none that lie in frames of their own', () => {
    const model = filled(names)
    for (let i = 10; i < 40; i += 3) model.put(utf8(names[i]), 3_000)
    const all = list(new Cursor(model.index))
    const run = new EntryRun(100, 0, MAX_KEY_BYTES, 4_096, 100_000)
    expect(list(new Cursor(model.index), { run })).toEqual(all)
    expect(all.filter((entry) => entry.kind === 'key' && entry.value.length === 3_000).length).toBe(10)
  })

  it('come without the bytes that are to be left out, each from a multiple of 4 on, zeros between them', () => {
    const { index } = filled(names)
    const run = new EntryRun(100, 4, MAX_KEY_BYTES, 4_096, 4_096)
    run.keyBytes.fill(0xee)
    const cursor = new Cursor(index)
    while (run.count < names.length) {
      if (cursor.take(run, 100) > 0) continue
      expect(cursor.next()).not.toBe(END)
      run.addKey(cursor.keyWords, cursor.keyLength)
    }
    expect(entriesOf(run).map(({ key }) => key)).toEqual(names.map((name) => name.slice(4)))
    expect([...run.starts.subarray(0, run.count)].every((start) => start % 4 === 0)).toBe(true)
    expect(gapsOf(run)).toMatch(/^\0+$/)
  })

  it('are no more than were asked for, and none once there are enough bytes of keys or values', () => {
    const { index } = filled(names)
    const taken = (run: EntryRun, most: number): number => {
      const cursor = new Cursor(index)
      cursor.next()
      cursor.take(run, most)
      const before = run.count
      expect(cursor.take(run, most), 'nothing more').toBe(0)
      return before
    }
    expect(taken(new EntryRun(100, 0, MAX_KEY_BYTES, 4_096, 4_096), 6)).toBe(6)
    expect(taken(new EntryRun(5, 0, MAX_KEY_BYTES, 4_096, 4_096), 6)).toBe(5)
    // 8 bytes each, or 12, with the zeros.
    expect(taken(new EntryRun(100, 0, MAX_KEY_BYTES, 16, 4_096), 6)).toBe(2)
    // The values have 1, 2, 3 … bytes: the first one is stepped over.
    expect(taken(new EntryRun(100, 0, MAX_KEY_BYTES, 4_096, 6), 100)).toBe(3)
  })

  it('are none when the tree has changed, a frame has left, or the walk is not a plain one', () => {
    const model = filled(names)
    const { index, source } = model
    const run = new EntryRun(100, 0, MAX_KEY_BYTES, 4_096, 4_096)
    const cursor = new Cursor(index)
    expect(cursor.take(run, 100), 'before the first step').toBe(0)
    cursor.next()
    expect(cursor.take(run, 2)).toBe(2)
    model.put(utf8('dir/002z'), 1)
    expect(cursor.take(run, 100), 'after a change').toBe(0)
    expect(cursor.next()).not.toBe(END)
    expect(latin1(cursor.key.subarray(0, cursor.keyLength))).toBe('dir/002z')
    source.evict(index.rootId)
    expect(cursor.take(run, 100), 'after a frame has left').toBe(0)
    for (const options of [{ reverse: true }, { delimiter: utf8('/') }]) {
      cursor.restart(options)
      cursor.next()
      expect(cursor.take(run, 100), JSON.stringify(options)).toBe(0)
    }
  })

  it('are the same as by single steps in a frame whose bytes are wrong, up to the same error', () => {
    const next = random(22)
    const keys = Array.from({ length: 1_500 }, (_, i) => `d${String(i % 40)}/f${String((i * 7_919) % 1_500)}`)
    const { index, source } = filled(keys)
    const run = new EntryRun(100, 0, MAX_KEY_BYTES, 4_096, 4_096)
    const outcome = (byRuns: boolean): unknown => {
      const listed: ReturnType<typeof list> = []
      const cursor = new Cursor(index, { gte: utf8('d2') })
      try {
        // In parts, so that what comes before an error is compared too.
        for (let part = 0; part < 400; part++) {
          const found = list(cursor, { limit: 1 })
          if (found.length === 0) break
          listed.push(...found)
          run.clear()
          if (byRuns) cursor.take(run, 100)
          listed.push(...entriesOf(run))
          if (listed.length > 400) break
        }
        return listed.slice(0, 400)
      } catch (error) {
        if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
        return [...listed, error.message].slice(0, 400)
      }
    }
    let differing = 0
    const whole = JSON.stringify(outcome(false))
    for (let round = 0; round < 100; round++) {
      const ids = source.ids
      const bytes = source.bytes(ids[Math.floor(next() * ids.length)] ?? index.rootId)
      const kept = bytes.slice()
      for (let i = 0; i < 20; i++) bytes[ENTRY_TABLE + Math.floor(next() * 11_000)] = Math.floor(next() * 256)
      const single = outcome(false)
      expect(outcome(true), `round ${String(round)}`).toEqual(single)
      if (JSON.stringify(single) !== whole) differing++
      bytes.set(kept)
    }
    expect(differing).toBeGreaterThan(15)
  })
})
