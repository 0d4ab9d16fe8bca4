import { describe, expect, it } from 'vitest'
import { Cursor } from '../src/index.js'
import { verifyTree } from '../src/verify.js'
import { list } from './listing.js'
import { ModelledIndex, random, utf8 } from './modelled-index.js'

const name = (i: number): string => `dir-${String(i % 9)}/file-${String(i).padStart(5, '0')}`

describe('the order of nodes in a frame', () => {
  it('is lost by keys that come at random, and found again by laying the frame out; contents stay', () => {
    const model = new ModelledIndex()
    const { index } = model
    const next = random(5)
    expect(index.disorder(index.rootId)).toBe(0)
    for (let i = 0; i < 800; i++) model.put(utf8(name(Math.floor(next() * 5_000)) + String(i)), 40)
    expect(index.disorder(index.rootId)).toBe(1)
    const before = list(new Cursor(index))
    index.orderFrame(index.rootId)
    expect(index.disorder(index.rootId)).toBe(0)
    expect(list(new Cursor(index))).toEqual(before)
    expect(verifyTree(index).problems).toEqual([])
    for (let i = 0; i < 800; i++) model.put(utf8(`${name(Math.floor(next() * 5_000))}+${String(i)}`), 40)
    expect(index.disorder(index.rootId)).toBeGreaterThan(0.4)
    expect(index.disorder(index.rootId)).toBeLessThan(0.6)
  })

  it('is that of a frame which a division has just made, and it never reaches behind the end', () => {
    const model = new ModelledIndex({ usableFrameBytes: 65_536, frames: 200 })
    const { index, source } = model
    const next = random(6)
    const keys: Uint8Array[] = []
    for (let i = 0; i < 3_000; i++) {
      const key = utf8(name(Math.floor(next() * 5_000)) + String(i))
      model.put(key, 30)
      keys.push(key)
      if (next() < 0.3) model.delete(keys.splice(Math.floor(next() * keys.length), 1)[0])
      if (i % 100 === 0) expect(verifyTree(index).problems).toEqual([])
    }
    const disorders: number[] = []
    for (let id = 1; id < source.pageTable.length; id++)
      if ((source.pageTable[id] ?? 0) > 0) disorders.push(index.disorder(id as never))
    expect(disorders.length).toBeGreaterThan(3)
    // Each was laid out when it was divided or made; what came since is less than half.
    for (const disorder of disorders) {
      expect(disorder).toBeGreaterThanOrEqual(0)
      expect(disorder).toBeLessThan(0.75)
    }
  })
})
