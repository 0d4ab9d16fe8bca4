import { type BlobId, blobId, FRAME_BYTES, FrameAbsent } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { beforeEach, describe, expect, it } from 'vitest'
import { BufferManager, type Cut, retireFrames } from '../src/buffer-manager.js'

/** Frames that are filled with one byte; reads can be held back and made to fail. */
class ByteStore {
  readonly supports = { syncReads: true, rangedReads: false, atomicFlush: true }
  readonly fill = new Map<BlobId, number>()
  reads = 0
  failure: HoltError | undefined
  gate: Promise<void> = Promise.resolve()

  readSync(id: BlobId, into: Uint8Array): void {
    this.reads += 1
    if (this.failure !== undefined) throw this.failure
    into.fill(this.fill.get(id) ?? 0)
  }
  readRangeSync(): void {
    throw new Error('no ranged reads')
  }
  readRange(): Promise<void> {
    return Promise.reject(new Error('no ranged reads'))
  }
  async read(id: BlobId, into: Uint8Array): Promise<void> {
    await this.gate
    this.readSync(id, into)
  }
}

describe('BufferManager', () => {
  let store: ByteStore
  let frames: BufferManager
  const ids = [1, 2, 3, 4, 5, 6].map(blobId)
  const [a, b, c, d] = ids as [BlobId, BlobId, BlobId, BlobId]

  beforeEach(() => {
    store = new ByteStore()
    for (const id of ids) store.fill.set(id, id)
    frames = new BufferManager({ store, capacityFrames: 4, maxFrames: 32, blobsInUse: ids })
  })
  const bytesOf = (id: BlobId): Uint8Array => frames.slab.bytes(frames.pageTable[id] as never)
  const commit = (cut: Cut): void => {
    retireFrames(frames.slots, frames.slab, cut.frames)
    frames.retired(cut)
  }

  it('loads an absent frame once, and names it in the page table', () => {
    const slot = frames.fault(a)
    expect(frames.pageTable[a]).toBe(slot)
    expect(bytesOf(a)[FRAME_BYTES - 1]).toBe(1)
    expect(store.reads).toBe(1)
    expect(frames.hasDirt).toBe(false)
  })

  it('throws FrameAbsent with the id where it may not block, and reads nothing', () => {
    frames.mayBlock = false
    expect(() => frames.fault(b)).toThrow(FrameAbsent)
    try {
      frames.fault(c)
    } catch (error) {
      expect((error as FrameAbsent).id).toBe(c)
    }
    expect(store.reads).toBe(0)
  })

  it('has fresh memory made present before a cut, for as many copies as there is changed, once', async () => {
    const ranges: Uint8Array[] = []
    const populateMemory = (bytes: Uint8Array): Promise<void> => {
      ranges.push(bytes)
      return Promise.resolve()
    }
    frames = new BufferManager({ store, capacityFrames: 16, maxFrames: 64, blobsInUse: ids, populateMemory })
    expect(frames.touchAhead()).toBeUndefined()
    const made = [frames.allocate(), frames.allocate(), frames.allocate()]
    await frames.touchAhead()
    expect(ranges.map(({ length }) => length)).toEqual([3 * FRAME_BYTES])
    expect(frames.touchAhead(), 'it is there').toBeUndefined()
    const cut = frames.cut()
    // Writers copy what the cut has frozen, into memory that is present.
    const [range] = ranges
    for (const id of made) {
      frames.writable(id)
      const { buffer, byteOffset } = bytesOf(id)
      expect(buffer).toBe(range.buffer)
      expect(byteOffset).toBeGreaterThanOrEqual(range.byteOffset)
      expect(byteOffset).toBeLessThan(range.byteOffset + range.length)
    }
    commit(cut)
    expect(frames.touchAhead(), 'slots that were given back do for the next').toBeUndefined()
    expect(ranges).toHaveLength(1)
  })

  it('has no memory made present for copies of frames that are written once', async () => {
    const lengths: number[] = []
    const populateMemory = (bytes: Uint8Array): Promise<void> => {
      lengths.push(bytes.length)
      return Promise.resolve()
    }
    frames = new BufferManager({ store, capacityFrames: 16, maxFrames: 64, blobsInUse: ids, populateMemory })
    for (let i = 0; i < 5; i++) frames.allocate(true)
    expect(frames.touchAhead()).toBeUndefined()
    frames.allocate()
    frames.allocate()
    await frames.touchAhead()
    expect(lengths).toEqual([2 * FRAME_BYTES])
    commit(frames.cut())
    // What was written once counts no more: from now on it is changed like any other.
    for (let id = 1; id <= 32; id++) if (frames.isResident(blobId(id))) frames.writable(blobId(id))
    await frames.touchAhead()
    expect(lengths).toEqual([2 * FRAME_BYTES, 5 * FRAME_BYTES])
  })

  it('has memory made present ahead of writers that use more and more, and for nobody else', async () => {
    const done: (() => void)[] = []
    const ranges: number[][] = []
    const populateMemory = (bytes: Uint8Array): Promise<void> => {
      ranges.push([bytes.byteOffset / FRAME_BYTES, bytes.length / FRAME_BYTES])
      return new Promise((resolve) => done.push(resolve))
    }
    frames = new BufferManager({
      store,
      capacityFrames: 100,
      maxFrames: 200,
      blobsInUse: ids,
      populateMemory,
    })
    for (const id of ids) frames.fault(id)
    for (let used = ids.length; used < 15; used++) frames.allocate()
    expect(ranges, 'few frames').toEqual([])
    frames.allocate()
    expect(ranges, 'slots 17 to 48').toEqual([[17, 32]])
    for (let used = 16; used < 40; used++) frames.allocate()
    expect(ranges, 'one at a time').toHaveLength(1)
    done[0]()
    await new Promise((resolve) => setImmediate(resolve))
    frames.allocate()
    expect(ranges.slice(1), 'up to 32 ahead of slot 41').toEqual([[49, 25]])
  })

  it('names a blob that nobody has as corruption', () => {
    expect(() => frames.fault(blobId(77))).toThrow(expect.objectContaining({ code: 'HOLT_CORRUPT' }))
  })

  it('gives the slot back when a read fails', () => {
    store.failure = new HoltError('HOLT_IO', 'broken')
    expect(() => frames.fault(a)).toThrow(store.failure)
    expect(frames.residentFrames).toBe(0)
    store.failure = undefined
    frames.fault(a)
    expect(frames.isResident(a)).toBe(true)
  })

  it('B38: evicts clean frames at its capacity, each by second chance, and says so in the residency counter', () => {
    for (const id of ids) frames.fault(id)
    expect(frames.residentFrames).toBe(4)
    expect(frames.stats().evictions).toBe(2)
    expect(frames.residency[0]).toBe(2)
    expect(ids.filter((id) => frames.isResident(id))).toHaveLength(4)
    expect(frames.pageTable[a]).toBeLessThan(0)
  })

  it('changes the word of an absent blob at every eviction', () => {
    const words = new Set<number>()
    for (let round = 0; round < 4; round++) {
      for (const id of ids) if (!frames.isResident(id)) frames.fault(id)
      for (const id of ids) if (!frames.isResident(id)) words.add(frames.pageTable[id])
    }
    expect(words.size).toBeGreaterThan(4)
  })

  it('B38: never evicts dirty, flushing or pinned frames: it grows for a read instead', async () => {
    frames.fault(a)
    frames.writable(a)
    frames.fault(b)
    frames.writable(b)
    const cut = frames.cut()
    frames.fault(c)
    frames.writable(c)
    await frames.load(d)
    expect(frames.reserve(1)).toBe(false)
    frames.fault(blobId(5))
    for (const id of [a, b, c, d]) expect(frames.isResident(id)).toBe(true)
    expect(frames.stats().overshootFrames).toBe(1)
    commit(cut)
    frames.unpin(d)
    expect(frames.reserve(1)).toBe(true)
  })

  it('copies a frame that is changed while it is being written out, and leaves the old one as it was', () => {
    frames.fault(a)
    const first = frames.writable(a)
    bytesOf(a)[5_000] = 42
    const cut = frames.cut()
    const second = frames.writable(a)
    expect(second).not.toBe(first)
    expect(frames.pageTable[a]).toBe(second)
    bytesOf(a)[5_000] = 43
    expect(frames.slab.bytes(first)[5_000]).toBe(42)
    expect(frames.writable(a)).toBe(second)
    const free = frames.slab.freeCount
    commit(cut)
    expect(frames.slab.freeCount).toBe(free + 1)
    expect(frames.dirtyFrames).toBe(1)
    expect(bytesOf(a)[5_000]).toBe(43)
  })

  it('changes a frame in place once its flush is over', () => {
    frames.fault(a)
    const slot = frames.writable(a)
    commit(frames.cut())
    expect(frames.hasDirt).toBe(false)
    expect(frames.writable(a)).toBe(slot)
    expect(frames.hasDirt).toBe(true)
  })

  it('B36: takes a failed cut back: the next one holds all of it', () => {
    frames.fault(a)
    frames.writable(a)
    frames.fault(b)
    frames.writable(b)
    const fresh = frames.allocate()
    frames.fault(c)
    frames.free(c)
    const cut = frames.cut()
    frames.writable(a)
    frames.free(b)
    frames.restore(cut)
    const next = frames.cut()
    expect(next.frames.map(({ id }) => id).sort()).toEqual([a, fresh])
    expect([...next.deletes].sort()).toEqual([b, c])
    commit(next)
    expect(frames.residentFrames).toBe(2)
    expect(frames.stats().flushingFrames).toBe(0)
  })

  it('B33: hands out the lowest free id, and a freed one only after the cut that removed it is durable', () => {
    expect(frames.allocate()).toBe(7)
    frames.fault(b)
    frames.free(b)
    expect(frames.allocate()).toBe(8)
    const cut = frames.cut()
    expect(frames.allocate()).toBe(9)
    commit(cut)
    expect(frames.allocate()).toBe(2)
    expect(frames.allocate()).toBe(10)
  })

  it('keeps the slot of a frame that was freed while being written out until that is over', () => {
    frames.fault(a)
    const slot = frames.writable(a)
    bytesOf(a)[9_000] = 9
    const cut = frames.cut()
    frames.free(a)
    const reused = frames.allocate()
    expect(frames.pageTable[reused]).not.toBe(slot)
    expect(frames.slab.bytes(slot)[9_000]).toBe(9)
    commit(cut)
    expect(frames.cut().deletes).toEqual([a])
  })

  it('takes back a blob that is not in memory, without reading it', () => {
    const residency = frames.residency[0]
    frames.free(a)
    expect(store.reads).toBe(0)
    expect(frames.residency[0]).toBeGreaterThan(residency)
    expect(frames.hasDirt).toBe(true)
    expect(() => frames.fault(a)).toThrow(expect.objectContaining({ code: 'HOLT_CORRUPT' }))
    expect(frames.allocate()).toBe(7)
    const cut = frames.cut()
    expect(cut.deletes).toEqual([a])
    expect(() => frames.fault(a)).toThrow(expect.objectContaining({ code: 'HOLT_CORRUPT' }))
    frames.restore(cut)
    const again = frames.cut()
    expect(again.deletes).toEqual([a])
    commit(again)
    expect(frames.allocate()).toBe(a)
    expect(frames.isResident(a)).toBe(true)
  })

  it('drops what it loads of a blob that is given up meanwhile, and loads it no more', async () => {
    let open = (): void => undefined
    store.gate = new Promise((resolve) => {
      open = resolve
    })
    const loads = [frames.load(a), frames.load(a)]
    frames.free(a)
    open()
    await Promise.all(loads)
    expect(frames.isResident(a)).toBe(false)
    expect(frames.residentFrames).toBe(0)
    expect(store.reads).toBe(1)
    frames.unpin(a)
    commit(frames.cut())
    const fresh = frames.allocate()
    expect(fresh).toBe(a)
    for (const id of ids.slice(1)) frames.fault(id)
    expect(frames.isResident(a)).toBe(true)
  })

  it('counts the frames in use that are not in memory, through everything that changes it', async () => {
    const inUse = new Set<BlobId>(ids)
    const expectCount = (): void => {
      const absent = [...inUse].filter((id) => !frames.isResident(id))
      expect(frames.absentFrames).toBe(absent.length)
    }
    expectCount()
    frames.fault(a)
    await Promise.all([frames.load(b), frames.load(b)])
    expectCount()
    // Evictions, by reading beyond the capacity.
    frames.unpin(b)
    frames.unpin(b)
    for (const id of ids) frames.fault(id)
    expectCount()
    inUse.add(frames.allocate())
    expectCount()
    // Freed while absent, while resident, while being written out, while being loaded.
    const absent = [...inUse].filter((id) => !frames.isResident(id))
    const resident = [...inUse].filter((id) => frames.isResident(id))
    const leaving = [absent[0], resident[0], resident[1], absent[1]]
    frames.writable(leaving[2])
    const cut = frames.cut()
    let open = (): void => undefined
    store.gate = new Promise((resolve) => {
      open = resolve
    })
    const loading = frames.load(leaving[3])
    for (const id of leaving) {
      frames.free(id)
      inUse.delete(id)
      expectCount()
    }
    commit(cut)
    open()
    await loading.catch(() => undefined)
    expectCount()
    store.failure = new HoltError('HOLT_IO', 'as planned')
    const missing = [...inUse].find((id) => !frames.isResident(id))
    if (missing !== undefined) expect(() => frames.fault(missing)).toThrow('as planned')
    expectCount()
  })

  it('zeroes the first page of a fresh frame', () => {
    const slot = frames.fault(a)
    frames.free(a)
    const fresh = frames.allocate()
    expect(frames.pageTable[fresh]).toBe(slot)
    expect(
      bytesOf(fresh)
        .subarray(0, 4_096)
        .every((byte) => byte === 0),
    ).toBe(true)
  })

  it('loads without blocking once for many callers, and drops the copy when a blocking read was faster', async () => {
    let open = (): void => undefined
    store.gate = new Promise((resolve) => {
      open = resolve
    })
    const loads = [frames.load(a), frames.load(a), frames.load(b)]
    const slot = frames.fault(a)
    open()
    await Promise.all(loads)
    expect(frames.pageTable[a]).toBe(slot)
    expect(frames.residentFrames).toBe(2)
    expect(store.reads).toBe(3)
  })

  it('moves the pins of a frame along when it is copied', async () => {
    await frames.load(a)
    frames.writable(a)
    const cut = frames.cut()
    frames.writable(a)
    commit(cut)
    commit(frames.cut())
    for (const id of ids) frames.fault(id)
    expect(frames.isResident(a)).toBe(true)
    frames.unpin(a)
    for (let round = 0; round < 2; round++) for (const id of ids.slice(1)) frames.fault(id)
    expect(frames.isResident(a)).toBe(false)
  })
})
