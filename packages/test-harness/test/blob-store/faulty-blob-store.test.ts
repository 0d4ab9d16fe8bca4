import { blobId, FRAME_BYTES } from '@holt/blob-buf-pool'
import type { BlobId } from '@holt/blob-buf-pool'
import { FileBlobStore, MemoryBlobStore } from '@holt/blob-store'
import { conformance } from '@holt/blob-store/conformance'
import { describe, expect, test } from 'vitest'

import { FaultyBlobStore, SimDisk } from '../../src/index.js'

describe('FaultyBlobStore without rules, around FileBlobStore on SimIo', () => {
  conformance({
    test,
    supports: { failFlush: true, corrupt: true },
    factory: async () => {
      const disk = new SimDisk()
      let io = disk.start()
      const open = async (): Promise<FaultyBlobStore> =>
        new FaultyBlobStore(await FileBlobStore.open({ io, directory: '/s', createIfMissing: true }))
      const store = await open()
      return {
        store,
        reopen: () => {
          io.kill()
          io = disk.start()
          return open()
        },
        failNextFlush: () => store.add({ operation: 'flush', action: 'fail' }),
        corrupt: (id, offsetBytes) => {
          // The conformance suite stores one blob at a time before it corrupts one: its frame is found by its bytes.
          corruptFrame(disk, id, offsetBytes)
          return Promise.resolve()
        },
        cleanup: () => Promise.resolve(),
      }
    },
  })
})

/** Flips a byte in every stored frame that says it is this blob. */
function corruptFrame(disk: SimDisk, id: BlobId, offsetBytes: number): void {
  const data = disk.contents('/s/blobs.dat') ?? new Uint8Array()
  const words = new DataView(data.buffer)
  for (let at = 0; at + FRAME_BYTES <= data.length; at += FRAME_BYTES) {
    const named = Array.from({ length: 16 }, (_, word) => words.getUint32(at + word * 4, true)).includes(id)
    if (named)
      disk.overwrite('/s/blobs.dat', at + offsetBytes, Uint8Array.of((data[at + offsetBytes] ?? 0) ^ 1))
  }
}

const A = blobId(1)
const B = blobId(2)
const NOTE = new Uint8Array(1)

function frame(byte: number): Uint8Array {
  return new Uint8Array(FRAME_BYTES).fill(byte)
}

async function byteOf(store: FaultyBlobStore, id: BlobId, at = 100_000): Promise<number | undefined> {
  const into = new Uint8Array(FRAME_BYTES)
  await store.read(id, into)
  return into[at]
}

function make(seed = 1): FaultyBlobStore {
  return new FaultyBlobStore(new MemoryBlobStore(), { seed })
}

describe('a rule', () => {
  test('fails the n-th write, and the next round succeeds', async () => {
    const store = make()
    store.add({ operation: 'write', action: 'fail', nth: 2 })
    await store.write(A, frame(1))
    await expect(store.write(B, frame(2))).rejects.toMatchObject({ code: 'HOLT_IO', errno: 'EIO' })
    expect(store.has(B)).toBe(false)
    await store.write(B, frame(2))
    await store.flush(NOTE)
    expect(await byteOf(store, B)).toBe(2)
    expect(store.counts).toMatchObject({ writes: 3, flushes: 1, faults: 1 })
  })

  test('fails a batch by its second frame, of which then nothing is staged', async () => {
    const store = make()
    store.add({ operation: 'write', action: 'fail', id: B })
    const batch = [
      { id: A, frame: frame(1) },
      { id: B, frame: frame(2) },
    ]
    await expect(store.writeMany(batch)).rejects.toMatchObject({ code: 'HOLT_IO' })
    expect(store.list()).toEqual([])
    expect(store.needsFlush).toBe(false)
  })

  test('can be a disk that is full once, or for good', async () => {
    const once = make()
    once.add({ operation: 'write', action: 'fail', code: 'HOLT_NO_SPACE' })
    await expect(once.write(A, frame(1))).rejects.toMatchObject({ code: 'HOLT_NO_SPACE', errno: 'ENOSPC' })
    await once.write(A, frame(1))
    const forGood = make()
    const lift = forGood.add({ operation: 'write', action: 'fail', code: 'HOLT_NO_SPACE', times: Infinity })
    for (let i = 0; i < 3; i++) await expect(forGood.write(A, frame(1))).rejects.toThrow()
    lift()
    await forGood.write(A, frame(1))
  })

  test('fails a flush, which drops what was staged and shows the last flush again', async () => {
    const store = make()
    await store.write(A, frame(1))
    await store.flush(NOTE)
    await store.write(A, frame(2))
    await store.write(B, frame(3))
    store.add({ operation: 'flush', action: 'fail' })
    await expect(store.flush(NOTE)).rejects.toMatchObject({ code: 'HOLT_IO' })
    expect(await byteOf(store, A)).toBe(1)
    expect(store.has(B)).toBe(false)
    expect(store.needsFlush).toBe(false)
    await store.flush(NOTE)
    expect(store.list()).toEqual([A])
  })

  test('blocks a call until it is released', async () => {
    const store = make()
    store.add({ operation: 'flush', action: 'block' })
    let flushed = false
    const flush = store.flush(NOTE).then(() => (flushed = true))
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(flushed).toBe(false)
    expect(store.blockedCalls).toBe(1)
    store.release()
    await flush
    expect(store.blockedCalls).toBe(0)
  })

  test('delays a call, so that a later one overtakes it', async () => {
    const store = make()
    store.add({ operation: 'write', action: 'delay' })
    const order: string[] = []
    await Promise.all([
      store.write(A, frame(1)).then(() => order.push('first')),
      store.write(B, frame(2)).then(() => order.push('second')),
    ])
    expect(order).toEqual(['second', 'first'])
  })

  test('shortens a read', async () => {
    const store = make()
    await store.write(A, frame(7))
    store.add({ operation: 'read', action: 'shorten', times: 2 })
    await expect(byteOf(store, A)).rejects.toMatchObject({ code: 'HOLT_SHORT_TRANSFER' })
    expect(() => {
      store.readSync(A, new Uint8Array(FRAME_BYTES))
    }).toThrow(expect.objectContaining({ code: 'HOLT_SHORT_TRANSFER' }))
    expect(await byteOf(store, A)).toBe(7)
  })

  test('tears a write: the second half is the former one', async () => {
    const store = make()
    await store.write(A, frame(1))
    store.add({ operation: 'write', action: 'tear' })
    await store.write(A, frame(2))
    expect(await byteOf(store, A, 100_000)).toBe(2)
    expect(await byteOf(store, A, 400_000)).toBe(1)
  })

  test('can fail late: what it rejects is done', async () => {
    const store = make()
    store.add({ operation: 'write', action: 'fail-late' })
    await expect(store.write(A, frame(1))).rejects.toMatchObject({ code: 'HOLT_IO' })
    expect(await byteOf(store, A)).toBe(1)
  })

  test('with a probability meets the same calls for the same seed', async () => {
    const failures = async (seed: number): Promise<string> => {
      const store = make(seed)
      store.add({ operation: 'write', action: 'fail', times: Infinity, probability: 0.5 })
      let trace = ''
      for (let i = 0; i < 40; i++) {
        trace += await store.write(A, frame(1)).then(
          () => '.',
          () => 'x',
        )
      }
      return trace
    }
    expect(await failures(1)).toBe(await failures(1))
    expect(await failures(1)).not.toBe(await failures(2))
    expect(await failures(1)).toMatch(/x.*\./)
  })
})
