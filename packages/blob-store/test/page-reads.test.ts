import { type BlobId, blobId, FrameAbsent, PAGE_BYTES, type Slot, USED_UNITS } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { beforeEach, describe, expect, it } from 'vitest'
import { BufferManager, retireFrames } from '../src/buffer-manager.js'
import { MemoryBlobStore } from '../src/memory-blob-store.js'

const CHUNK = 4 * PAGE_BYTES

/** A store in memory whose reads are counted, held back and made to fail. */
class CountedStore {
  readonly inner = new MemoryBlobStore()
  readonly supports = this.inner.supports
  calls: string[] = []
  failure: HoltError | undefined
  gate: Promise<void> | undefined

  #call(what: string): void {
    this.calls.push(what)
    if (this.failure !== undefined) throw this.failure
  }
  readSync(id: BlobId, into: Uint8Array): void {
    this.#call(`whole ${String(id)}`)
    this.inner.readSync(id, into)
  }
  async read(id: BlobId, into: Uint8Array): Promise<void> {
    await this.gate
    this.readSync(id, into)
  }
  readRangeSync(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): void {
    this.#call(`${String(id)} ${String(offsetBytes / CHUNK)}+${String(into.length / CHUNK)}`)
    this.inner.readRangeSync(id, offsetBytes, into, header)
  }
  async readRange(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): Promise<void> {
    await this.gate
    this.readRangeSync(id, offsetBytes, into, header)
  }
}

/** Every page holds its own number, and the frame's id. */
function frameOf(id: number, pages: number): Uint8Array {
  const frame = new Uint8Array(new SharedArrayBuffer(524_288))
  for (let page = 0; page < 128; page++) {
    frame[page * PAGE_BYTES + 4_000] = page
    frame[page * PAGE_BYTES + 4_001] = id
  }
  new DataView(frame.buffer).setUint32(USED_UNITS, pages * 512, true)
  return frame
}

describe('reads of single pages', () => {
  let store: CountedStore
  let frames: BufferManager
  const ids = Array.from({ length: 30 }, (_, i) => blobId(i + 1))
  const [a, b, c] = ids as [BlobId, BlobId, BlobId]

  beforeEach(async () => {
    store = new CountedStore()
    await store.inner.writeMany(ids.map((id) => ({ id, frame: frameOf(id, 80) })))
    frames = new BufferManager({ store, capacityFrames: 16, maxFrames: 64, blobsInUse: ids })
  })
  const page = (id: BlobId, number: number): void => {
    const slot = frames.readPages(id, number * PAGE_BYTES, (number + 1) * PAGE_BYTES)
    const bytes = frames.slab.bytes(slot)
    expect([bytes[number * PAGE_BYTES + 4_000], bytes[number * PAGE_BYTES + 4_001]]).toEqual([number, id])
  }

  it('read the chunk of page 0, then the chunks asked for, each once; the blob stays absent', () => {
    page(a, 50)
    page(a, 50)
    page(a, 3)
    page(a, 48)
    page(a, 7)
    expect(store.calls).toEqual(['1 0+1', '1 12+1', '1 1+1'])
    expect(frames.isResident(a)).toBe(false)
    expect(frames.stats()).toMatchObject({ pageReads: 3, pageReadBytes: 3 * CHUNK, wholeReads: 0, loads: 0 })
    expect(frames.stats()).toMatchObject({ partialFrames: 1, residentFrames: 1 })
  })

  it('read a run over several chunks at once, without those that are there', () => {
    page(a, 8)
    store.calls = []
    frames.readPages(a, 4 * PAGE_BYTES, 16 * PAGE_BYTES)
    expect(store.calls).toEqual(['1 1+1', '1 3+1'])
  })

  it('become a read of the whole frame when that would have been as cheap', () => {
    for (const number of [0, 8, 16, 24, 32, 40, 48]) page(a, number)
    expect(store.calls.at(-1)).toBe('whole 1')
    expect(frames.isResident(a)).toBe(true)
    expect(frames.stats()).toMatchObject({ partialFrames: 0, residentFrames: 1, wholeReads: 1 })
    expect(frames.stats().wholeReadBytes).toBe(80 * PAGE_BYTES)
  })

  it('take longer for that where another frame must leave', () => {
    for (const id of ids.slice(1, 17)) frames.fault(id)
    store.calls = []
    for (const number of [0, 8, 16, 24, 32, 40, 48]) page(a, number)
    expect(store.calls).not.toContain('whole 1')
  })

  it('make a frame resident once all of it is there', async () => {
    await store.inner.write(a, frameOf(a, 5))
    page(a, 0)
    expect(frames.isResident(a)).toBe(false)
    page(a, 4)
    expect(frames.isResident(a)).toBe(true)
    await store.inner.write(b, frameOf(b, 4))
    page(b, 1)
    expect(frames.isResident(b)).toBe(true)
    expect(store.calls).toEqual(['1 0+1', '1 1+1', '2 0+1'])
  })

  it('keep as many frames as there is room for, until whole ones want it', () => {
    for (const id of ids.slice(0, 14)) page(id, 30)
    expect(frames.stats()).toMatchObject({ partialFrames: 14, residentFrames: 14, evictions: 0 })
    store.calls = []
    for (const id of ids.slice(0, 14)) page(id, 30)
    expect(store.calls).toEqual([])
    for (const id of ids.slice(14, 30)) frames.fault(id)
    expect(frames.stats()).toMatchObject({ partialFrames: 2, residentFrames: 16 })
    // One that was looked at since stays longest.
    for (const id of ids.slice(14, 30)) if (!frames.isResident(id)) frames.fault(id)
    expect(frames.stats()).toMatchObject({ partialFrames: 2, residentFrames: 16 })
    expect(frames.reserve(14)).toBe(true)
    expect(frames.residentFrames).toBe(2)
    expect(frames.stats().partialFrames).toBeLessThanOrEqual(2)
  })

  it('keep a few frames only in a full cache, which replace each other and drive out one or two others', () => {
    for (const id of ids.slice(14, 30)) frames.fault(id)
    for (const id of ids.slice(0, 14)) page(id, 30)
    expect(frames.stats()).toMatchObject({ partialFrames: 2, residentFrames: 16, evictions: 2 })
  })

  it('refuse bytes that the frame does not use', () => {
    expect(() => frames.readPages(a, 80 * PAGE_BYTES, 80 * PAGE_BYTES + 8)).toThrow(
      expect.objectContaining({ code: 'HOLT_CORRUPT' }),
    )
    expect(() => frames.readPages(blobId(55), 0, 8)).toThrow(
      expect.objectContaining({ code: 'HOLT_CORRUPT' }),
    )
  })

  it('that fail leave no byte behind, neither the first nor a later one', () => {
    store.failure = new HoltError('HOLT_IO', 'broken')
    expect(() => frames.readPages(a, 0, 8)).toThrow(store.failure)
    expect(frames.residentFrames).toBe(0)
    store.failure = undefined
    page(a, 1)
    store.failure = new HoltError('HOLT_IO', 'broken')
    expect(() => frames.readPages(a, 50 * PAGE_BYTES, 51 * PAGE_BYTES)).toThrow(store.failure)
    store.failure = undefined
    page(a, 50)
  })

  it('give way to a change: it gets the whole frame, and pages of the image before never come back', async () => {
    page(a, 50)
    frames.fault(a)
    expect(frames.stats()).toMatchObject({ partialFrames: 0, residentFrames: 1 })
    const slot = frames.writable(a)
    frames.slab.bytes(slot)[50 * PAGE_BYTES + 4_000] = 77
    const cut = frames.cut()
    await store.inner.writeMany(cut.frames.map(({ id, slot }) => ({ id, frame: frames.slab.bytes(slot) })))
    retireFrames(frames.slots, frames.slab, cut.frames)
    for (const id of ids.slice(1)) frames.fault(id)
    expect(frames.isResident(a)).toBe(false)
    const again = frames.readPages(a, 50 * PAGE_BYTES, 51 * PAGE_BYTES)
    expect(frames.slab.bytes(again)[50 * PAGE_BYTES + 4_000]).toBe(77)
  })

  it('tell what they want where they may not block', () => {
    frames.mayBlock = false
    const wanted = (): unknown => {
      try {
        frames.readPages(a, 9 * PAGE_BYTES, 10 * PAGE_BYTES)
      } catch (error) {
        return error
      }
      return undefined
    }
    expect(wanted()).toBeInstanceOf(FrameAbsent)
    expect(wanted()).toMatchObject({ id: a, fromBytes: 9 * PAGE_BYTES, toBytes: 10 * PAGE_BYTES })
    expect(() => frames.fault(a)).toThrow(FrameAbsent)
    expect(store.calls).toEqual([])
  })

  describe('without blocking', () => {
    const load = (id: BlobId, number: number): Promise<void> =>
      frames.loadPages(id, number * PAGE_BYTES, (number + 1) * PAGE_BYTES)

    it('share what is under way, and stay until they are unpinned', async () => {
      await Promise.all([load(a, 50), load(a, 50), load(a, 51), load(a, 9)])
      expect(store.calls.sort()).toEqual(['1 0+1', '1 12+1', '1 2+1'])
      for (const id of ids.slice(1)) frames.readPages(id, 0, 8)
      store.calls = []
      page(a, 50)
      expect(store.calls).toEqual([])
      for (let i = 0; i < 4; i++) frames.unpin(a)
      for (const id of ids.slice(1)) frames.readPages(id, 0, 8)
      store.calls = []
      page(a, 50)
      expect(store.calls).toEqual(['1 0+1', '1 12+1'])
    })

    it('keep their pins when the frame becomes whole, either way', async () => {
      await load(a, 50)
      await load(b, 50)
      frames.fault(a)
      await frames.load(b)
      for (const id of ids.slice(2)) frames.fault(id)
      expect([frames.isResident(a), frames.isResident(b)]).toEqual([true, true])
      frames.unpin(a)
      frames.unpin(b)
      frames.unpin(b)
      for (const id of ids.slice(2)) frames.fault(id)
      for (const id of ids.slice(2)) frames.fault(id)
      expect([frames.isResident(a), frames.isResident(b)]).toEqual([false, false])
    })

    it('let go what came too late: the frame was loaded, changed, written and evicted meanwhile', async () => {
      page(a, 1)
      let open = (): void => undefined
      store.gate = new Promise((resolve) => (open = resolve))
      const late = load(a, 50)
      frames.fault(a)
      frames.slab.bytes(frames.writable(a))[50 * PAGE_BYTES + 4_000] = 77
      const cut = frames.cut()
      await store.inner.writeMany(cut.frames.map(({ id, slot }) => ({ id, frame: frames.slab.bytes(slot) })))
      retireFrames(frames.slots, frames.slab, cut.frames)
      for (const id of ids.slice(1)) frames.fault(id)
      open()
      await late
      const slot = frames.readPages(a, 50 * PAGE_BYTES, 51 * PAGE_BYTES)
      expect(frames.slab.bytes(slot)[50 * PAGE_BYTES + 4_000]).toBe(77)
      frames.unpin(a)
    })

    it('are dropped when the blob is freed while they are under way', async () => {
      let open = (): void => undefined
      store.gate = new Promise((resolve) => (open = resolve))
      const late = load(c, 50)
      frames.fault(c)
      frames.free(c)
      await store.inner.delete(c)
      open()
      await late
      expect(frames.residentFrames).toBe(0)
    })

    it('report a failed read to all who wait for it, and can be repeated', async () => {
      store.failure = new HoltError('HOLT_IO', 'broken')
      const results = await Promise.allSettled([load(a, 50), load(a, 50)])
      expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
      store.failure = undefined
      await load(a, 50)
      page(a, 50)
    })
  })
})

describe('frames that walks load', () => {
  it('replace each other once they are many; what lookups pass, stays', async () => {
    const store = new CountedStore()
    const ids = Array.from({ length: 40 }, (_, i) => blobId(i + 1))
    await store.inner.writeMany(ids.map((id) => ({ id, frame: frameOf(id, 80) })))
    const frames = new BufferManager({ store, capacityFrames: 16, maxFrames: 64, blobsInUse: ids })
    const hot = ids.slice(0, 14)
    for (const id of hot) frames.fault(id)
    for (const id of ids.slice(14)) frames.fault(id, true)
    expect(hot.filter((id) => frames.isResident(id))).toHaveLength(14)
    // A walk's frame that a lookup has passed since is as good as any.
    const last = blobId(40)
    frames.recency[frames.pageTable[last] as Slot] = 1
    for (const id of ids.slice(14, 39)) frames.fault(id, true)
    expect(frames.isResident(last)).toBe(true)
    expect(frames.residentFrames).toBe(16)
  })
})
