import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  CompactionPass,
  Cursor,
  type IndexView,
  isPrefixEmpty,
  MIN_USABLE_BYTES,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { KEY_MAKERS, type KeyMaker } from './keys.js'
import { list } from './listing.js'
import { utf8 } from './modelled-index.js'
import { Random } from './random.js'
import { bytesOf, latin1, SortedMap } from './sorted-map.js'
import { fillPattern } from './values.js'

const LONGEST_KEY = 200
/** Three frames of its own. */
const LARGEST_VALUE = 3 * 8_192

interface OpenView {
  readonly view: IndexView
  readonly map: SortedMap
}

/** An index, an ordered map, and a clone of the map for each open view. */
class ViewedIndex {
  readonly source: ArrayFrameSource
  readonly index: ArtIndex
  readonly map = new SortedMap()
  readonly views: OpenView[] = []
  readonly random: Random
  readonly make: KeyMaker
  #pass = new CompactionPass()
  version = 0

  constructor(seed: number, make: KeyMaker) {
    this.random = new Random(seed)
    this.make = (random) => make(random).slice(0, LONGEST_KEY)
    this.source = new ArrayFrameSource({ frames: 3_000, moveOnWrite: seed % 2 === 0 })
    this.index = ArtIndex.create(this.source, { usableFrameBytes: MIN_USABLE_BYTES })
  }

  key(percentPresent: number): string {
    const { keys } = this.map
    return keys.length > 0 && this.random.chance(percentPresent)
      ? this.random.pick(keys)
      : this.make(this.random)
  }

  prefix(): string {
    const key = this.key(85)
    return key.slice(0, this.random.below(key.length + 1))
  }

  put(key: string, valueBytes: number): void {
    const value = fillPattern(new Uint8Array(valueBytes), this.random.below(256))
    this.index.key.set(bytesOf(key))
    this.index.put(key.length, value, 0, valueBytes, ++this.version)
    this.map.put(key, latin1(value), this.version)
  }

  delete(key: string): void {
    this.version++
    this.index.key.set(bytesOf(key))
    expect(this.index.delete(key.length)).toBe(this.map.delete(key))
  }

  deletePrefix(prefix: string): void {
    this.version++
    this.index.key.set(bytesOf(prefix))
    this.index.deletePrefix(prefix.length)
    for (const key of this.map.keysBelow(prefix)) this.map.delete(key)
  }

  movePrefix(from: string, to: string): void {
    const { index, map } = this
    if (from.startsWith(to) || to.startsWith(from)) return
    index.key.set(bytesOf(from))
    if (to.length + index.restBoundBytes(from.length) > index.maxKeyBytes) return
    this.version++
    if (!index.movePrefix(bytesOf(from), bytesOf(to))) return
    const moved = map.keysBelow(from).map((key) => [to + key.slice(from.length), map.get(key)] as const)
    for (const key of [...map.keysBelow(to), ...map.keysBelow(from)]) map.delete(key)
    for (const [key, record] of moved) if (record) map.put(key, record.value, record.version)
  }

  bulkLoad(prefix: string, keys: number): void {
    const { index, random, map } = this
    if (!isPrefixEmpty(index, bytesOf(prefix))) return
    const rests = new Set<string>()
    for (let i = 0; i < keys; i++) rests.add(this.make(random).slice(0, LONGEST_KEY - prefix.length))
    const version = ++this.version
    const load = index.bulkLoad(bytesOf(prefix), version)
    const values: (readonly [string, Uint8Array])[] = []
    for (const rest of [...rests].sort((a, b) => (a < b ? -1 : 1))) {
      const length = random.chance(3) ? random.below(LARGEST_VALUE) : random.below(100)
      const value = fillPattern(new Uint8Array(length), random.below(256))
      const keyWords = new Uint32Array((rest.length + 16) >>> 2)
      new Uint8Array(keyWords.buffer).set(bytesOf(rest))
      const valueWords = new Uint32Array((length + 3) >>> 2)
      new Uint8Array(valueWords.buffer).set(value)
      expect(load.add(keyWords, 0, rest.length, valueWords, 0, length)).toBe(true)
      values.push([rest, value])
    }
    if (random.chance(30)) {
      load.abandon()
      return
    }
    expect(load.finish()).toBe(true)
    for (const [rest, value] of values) map.put(prefix + rest, latin1(value), version)
  }

  compact(): void {
    for (let steps = this.random.below(40); steps > 0; steps--) {
      if (this.#pass.finished) this.#pass = new CompactionPass()
      this.index.compactStep(this.#pass, { frames: this.random.pick([2, 4, 16]) })
    }
  }

  takeView(): void {
    this.views.push({ view: this.index.view(this.version), map: this.map.clone() })
  }

  closeView(): void {
    if (this.views.length === 0) return
    const [{ view }] = this.views.splice(this.random.below(this.views.length), 1)
    view.close()
  }

  change(): void {
    const { random } = this
    const dice = random.below(100)
    if (dice < 60) this.put(this.key(20), random.chance(4) ? random.below(LARGEST_VALUE) : random.below(300))
    else if (dice < 80) this.delete(this.key(95))
    else if (dice < 84) this.movePrefix(this.prefix(), random.chance(50) ? this.prefix() : this.make(random))
    else if (dice < 87) this.deletePrefix(this.key(85).slice(0, 2 + random.below(8)))
    else if (dice < 89) this.bulkLoad(this.make(random), random.pick([3, 100, 400]))
    else if (dice < 93) this.compact()
    else if (dice < 97 && this.views.length < 6) this.takeView()
    else this.closeView()
  }

  giveBack(): void {
    while (this.index.unlinked.size > 0) this.index.freeNextUnlinked()
  }

  /** The tree and each view are what they have to be, and the frames that there are, are theirs and nobody else's. */
  check(): void {
    const { index, source, map } = this
    this.giveBack()
    const report = verifyTree(index)
    expect(report.problems).toEqual([])
    const wanted = new Set<number>(report.blobIds)
    expect(list(new Cursor(index))).toEqual(map.scan({}))
    for (const { view, map: then } of this.views) {
      const seen = verifyTree(view.index)
      expect(seen.problems).toEqual([])
      for (const id of seen.blobIds) wanted.add(id)
      expect(list(new Cursor(view.index))).toEqual(then.scan({}))
    }
    expect([...report.blobIds, ...report.unlinkedBlobIds].sort((a, b) => a - b)).toEqual(source.ids)
    expect([...wanted].sort((a, b) => a - b)).toEqual(source.ids)
  }
}

describe('views of a tree that changes', () => {
  for (const [name, make] of Object.entries(KEY_MAKERS)) {
    it(`show it as it was, and hold what they see, no frame more: ${name}`, () => {
      for (const seed of [1, 2, 3]) {
        const viewed = new ViewedIndex(seed, make)
        for (let i = 0; i < 150; i++) viewed.put(viewed.make(viewed.random), viewed.random.below(200))
        let held = 0
        for (let round = 0; round < 80; round++) {
          for (let i = 0; i < 10; i++) viewed.change()
          viewed.check()
          held = Math.max(held, viewed.index.unlinked.heldCount)
        }
        expect(held).toBeGreaterThan(0)
        while (viewed.views.length > 0) viewed.closeView()
        viewed.check()
      }
    }, 120_000)
  }

  it('are taken and closed without a change, and a change without a view copies nothing', () => {
    const viewed = new ViewedIndex(1, KEY_MAKERS['paths'])
    for (let i = 0; i < 2_000; i++) viewed.put(viewed.make(viewed.random), 20)
    const { index, source } = viewed
    const { ids } = source
    const { changes, rootId } = index
    const view = index.view(viewed.version)
    expect(source.ids).toEqual(ids)
    expect(index.changes).toBe(changes)
    expect(index.openViews).toBe(1)
    view.close()
    expect(index.openViews).toBe(0)
    for (const key of viewed.map.keys) viewed.put(key, 20)
    expect(source.ids).toEqual(ids)
    expect(index.rootId).toBe(rootId)
  })

  it('make a change copy the frames on its way, once', () => {
    const viewed = new ViewedIndex(1, KEY_MAKERS['paths'])
    for (let i = 0; i < 2_000; i++) viewed.put(viewed.make(viewed.random), 20)
    const { index, source } = viewed
    const before = source.ids.length
    const view = index.view(viewed.version)
    const key = viewed.map.keys[700]
    viewed.put(key, 20)
    const forked = source.ids.length - before
    expect(forked).toBeGreaterThan(1)
    expect(index.unlinked.heldCount).toBe(forked)
    viewed.put(key, 20)
    expect(source.ids.length - before).toBe(forked)
    view.close()
    viewed.giveBack()
    expect(source.ids.length).toBe(before)
  })

  it('of a run of siblings lead to the frame as it was by each of them, and the tree to its copy', () => {
    // Random bytes behind one another: runs of children of one node, each run a frame with many entries.
    const random = new Random(3)
    const viewed = new ViewedIndex(4, () => '')
    for (let i = 0; i < 4_000; i++)
      viewed.put(String.fromCharCode(random.below(256), random.below(256), random.below(256)), 60)
    const several = verifyTree(viewed.index)
    expect(several.entries).toBeGreaterThan(2 * several.blobIds.length)
    viewed.takeView()
    viewed.put(viewed.map.keys[1_234], 61)
    viewed.check()
    viewed.closeView()
    viewed.check()
  })

  it('refuse what would change them', () => {
    const viewed = new ViewedIndex(1, KEY_MAKERS['paths'])
    for (let i = 0; i < 500; i++) viewed.put(`a/${String(i)}`, 20)
    viewed.takeView()
    const { index } = viewed.views[0].view
    const key = bytesOf('a/7')
    index.key.set(key)
    const code = expect.objectContaining({ code: 'HOLT_READ_ONLY' }) as Error
    expect(() => index.put(key.length, key, 0, 1, 9)).toThrow(code)
    expect(() => index.delete(key.length)).toThrow(code)
    expect(() => index.deletePrefix(2)).toThrow(code)
    expect(() => index.movePrefix(bytesOf('a/'), bytesOf('b/'))).toThrow(code)
    const load = index.bulkLoad(bytesOf('c'), 9)
    expect(load.add(new Uint32Array(4), 0, 1, new Uint32Array(4), 0, 1)).toBe(true)
    expect(() => load.finish()).toThrow(code)
    load.abandon()
    viewed.check()
  })

  it('are left alone by a compaction, which does its work once they are closed', () => {
    const viewed = new ViewedIndex(1, KEY_MAKERS['paths'])
    const { index, source, map } = viewed
    for (let i = 0; i < 4_000; i++) viewed.put(viewed.make(viewed.random) + String(i), 40)
    for (const [i, key] of [...map.keys].entries()) if (i % 5 !== 0) viewed.delete(key)
    viewed.takeView()
    const { ids } = source
    const before = ids.map((id) => Buffer.from(source.bytes(id)).toString('latin1'))
    const compact = (): void => {
      const pass = new CompactionPass()
      while (index.compactStep(pass));
      for (const id of source.ids) if (index.disorder(id) > 0) index.orderFrame(id)
    }
    compact()
    expect(source.ids).toEqual(ids)
    expect(ids.map((id) => Buffer.from(source.bytes(id)).toString('latin1'))).toEqual(before)
    viewed.check()
    viewed.closeView()
    compact()
    expect(source.ids.length).toBeLessThan(ids.length)
    viewed.check()
  })

  it('and the tree stay whole when there is no frame for a copy, at any of them', () => {
    for (let spare = 0; spare < 6; spare++) {
      const viewed = new ViewedIndex(1, KEY_MAKERS['paths'])
      for (let i = 0; i < 2_000; i++) viewed.put(viewed.make(viewed.random), 20)
      viewed.takeView()
      const { source, index, map } = viewed
      const { allocate } = source
      let left = spare
      source.allocate = () => {
        if (left-- === 0) throw new Error('no frame')
        return allocate.call(source)
      }
      const key = map.keys[900]
      index.key.set(bytesOf(key))
      try {
        index.put(key.length, utf8('x'), 0, 1, ++viewed.version)
        map.put(key, 'x', viewed.version)
      } catch (error) {
        expect(error).toMatchObject({ message: 'no frame' })
      }
      expect(left < 0).toBe(map.get(key)?.value !== 'x')
      source.allocate = allocate
      viewed.check()
      viewed.put(key, 30)
      viewed.check()
      viewed.closeView()
      viewed.check()
    }
  })

  it('that were kept hold what they see of what the tree had let go of, no frame more', () => {
    const source = new ArrayFrameSource({ frames: 20 })
    const { rootId } = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES })
    const index = ArtIndex.attach(source, rootId, { usableFrameBytes: MIN_USABLE_BYTES, epoch: 9 })
    const lives = [
      [1, 2],
      [2, 5],
      [4, 6],
      [5, 9],
    ].flatMap(([birth, death]) =>
      [true, false].map((isSingle) => ({ id: source.allocate(), isSingle, birth, death })),
    )
    const views = index.restore(
      [3, 6].map((epoch) => ({ epoch, seq: epoch, rootId })),
      lives,
    )
    const { unlinked } = index
    expect([...unlinked.list()]).toEqual(lives)
    expect([unlinked.size, unlinked.heldCount]).toEqual([4, 4])
    views[1].close()
    expect([unlinked.size, unlinked.heldCount]).toEqual([6, 2])
    views[0].close()
    expect([unlinked.size, unlinked.heldCount]).toEqual([8, 0])
  })

  it('stay as they are while keys are loaded aside and grafted in', () => {
    const viewed = new ViewedIndex(1, KEY_MAKERS['paths'])
    const { index, source } = viewed
    for (let i = 0; i < 600; i++) viewed.put(`b${String(i)}`, 60)
    viewed.takeView()
    const load = index.bulkLoad(bytesOf('c/'), ++viewed.version)
    const keyWords = new Uint32Array(8)
    const key = new Uint8Array(keyWords.buffer)
    const value = new Uint32Array(5_000)
    for (let i = 0; i < 900; i++) {
      const rest = String(i).padStart(6, '0')
      key.set(bytesOf(rest))
      expect(load.add(keyWords, 0, rest.length, value, 0, i % 100 === 0 ? 20_000 : 60)).toBe(true)
      // Each sees frames that belong to no tree yet, or does not: it shows none of them.
      if (i % 300 === 0) viewed.takeView()
    }
    expect(load.finish()).toBe(true)
    viewed.takeView()
    for (const { view } of viewed.views.slice(0, -1)) expect(verifyTree(view.index).keys).toBe(600)
    expect(verifyTree(viewed.views[viewed.views.length - 1].view.index).keys).toBe(1_500)
    index.key.set(bytesOf('c/'))
    expect(index.deletePrefix(2)).toBe(true)
    for (const { view } of viewed.views.splice(0)) view.close()
    viewed.giveBack()
    expect(verifyTree(index)).toMatchObject({ keys: 600, problems: [] })
    expect(source.ids).toEqual([...verifyTree(index).blobIds].sort((a, b) => a - b))
  })
})
