import { describe, expect, it } from 'vitest'
import { ArtIndex, MIN_USABLE_BYTES, treeStatistics, verifyTree } from '../src/index.js'
import { BUMP_UNITS } from '../src/layout.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { Random } from './random.js'
import { bytesOf } from './sorted-map.js'

const VALUE = new Uint8Array(40).fill(7)

function filled(source: ArrayFrameSource, keys: readonly string[], usableFrameBytes?: number): ArtIndex {
  const index = ArtIndex.create(source, usableFrameBytes === undefined ? {} : { usableFrameBytes })
  keys.forEach((key, i) => {
    index.key.set(bytesOf(key))
    index.put(key.length, VALUE, 0, VALUE.length, i + 1)
  })
  return index
}

/** In an order without a pattern. */
function keysBelow(prefix: string, count: number): readonly string[] {
  const random = new Random(count)
  return Array.from({ length: count }, (_, i) => `${prefix}${String(random.below(1e6))}-${String(i)}`)
}

function move(index: ArtIndex, from: string, to: string): void {
  expect(index.movePrefix(bytesOf(from), bytesOf(to))).toBe(true)
}

describe('a move inside one entry of a frame', () => {
  it('copies nothing: the frame grows by no more than a path', () => {
    const source = new ArrayFrameSource({ frames: 20 })
    const index = filled(source, [...keysBelow('team/a/', 1_000), ...keysBelow('team/c/', 10)])
    expect(treeStatistics(index).frames).toBe(1)
    const bump = (): number =>
      new DataView(source.bytes(index.rootId).slice().buffer).getUint32(BUMP_UNITS, true)
    const before = bump()
    move(index, 'team/a/', 'team/b/')
    move(index, 'team/b/', 'another team/and its folder/')
    move(index, 'another team/and its folder/', 'team/c/0/')
    expect(bump() - before).toBeLessThan(200)
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: 1_010 })
  })
})

describe('the bound of the longest key', () => {
  it.each([
    ['one frame', undefined],
    ['many frames', MIN_USABLE_BYTES],
  ])('stays what it is when a subtree moves to a longer prefix and back again and again, %s', (_, usable) => {
    const index = filled(
      new ArrayFrameSource({ frames: 400 }),
      [...keysBelow('a/', 1_000), ...keysBelow('m/', 500)],
      usable,
    )
    const bound = (): number => {
      index.key.set(bytesOf('a/'))
      return index.restBoundBytes(2, Infinity)
    }
    const to = 'a prefix of many bytes/'
    move(index, 'a/', to)
    move(index, to, 'a/')
    const first = bound()
    for (let i = 0; i < 50; i++) {
      move(index, 'a/', to)
      move(index, to, 'a/')
    }
    expect(bound()).toBe(first)
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: 1_500 })
  })
})
