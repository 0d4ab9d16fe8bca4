import { Worker } from 'node:worker_threads'

import { ArtIndex, type IndexView, verifyTree } from '@holt/art-index'
import { BufferManager, MemoryBlobStore, retireFrames } from '@holt/blob-store'
import type { BlobId } from '@holt/blob-buf-pool'
import { describe, expect, test } from 'vitest'

const KEYS = 3_000
const USABLE_FRAME_BYTES = 65_536
/** More by the environment: the soak reads a hundred million. */
const READS = Number(process.env['HOLT_SHARED_READS'] ?? 200_000)
/** At 20 reads a millisecond, a hundredth of what two threads do where they are alone. */
const TIMEOUT_MS = Math.max(600_000, READS / 20)

interface ReaderResult {
  readonly found: number
  readonly absent: number
  readonly waits: number
}

const lengthOf = (key: number, generation: number): number => 8 + ((key * 7 + generation * 13) % 120)

/** A tree with a writer on this thread, and what its frames are kept by. */
function startTree(capacityFrames: number): {
  frames: BufferManager
  index: ArtIndex
  put: (key: number, generation: number, seq: number) => void
  remove: (key: number) => void
  checkpoint: () => Promise<void>
} {
  const store = new MemoryBlobStore()
  const frames = new BufferManager({ store, capacityFrames })
  const index = ArtIndex.create(frames, { usableFrameBytes: USABLE_FRAME_BYTES })
  const value = Buffer.alloc(256)
  const scratch = Buffer.from(index.key.buffer, index.key.byteOffset, index.key.length)
  const setKey = (key: number): number =>
    scratch.write(`dir/${String(key % 97)}/file-${String(key)}`, 'latin1')
  return {
    frames,
    index,
    put: (key, generation, seq) => {
      const length = lengthOf(key, generation)
      value.fill((key * 31 + generation) & 255, 0, length)
      value.writeInt32LE(key, 0)
      value.writeInt32LE(generation, 4)
      index.put(setKey(key), value, 0, length, seq)
      frames.endChange()
    },
    remove: (key) => {
      index.delete(setKey(key))
      frames.endChange()
    },
    checkpoint: async () => {
      const cut = frames.cut()
      await store.writeMany(cut.frames.map(({ id, slot }) => ({ id, frame: frames.slab.bytes(slot) })))
      for (const id of cut.deletes) await store.delete(id)
      await store.flush(new Uint8Array(0))
      retireFrames(frames.slots, frames.slab, cut.frames)
      frames.retired(cut)
    },
  }
}

/** @param viewsOpen - under so many views of the owner's, each closed when as many newer ones are open */
async function readWhileWriting(capacityFrames: number, viewsOpen = 0): Promise<readonly ReaderResult[]> {
  const { frames, index, put, remove, checkpoint } = startTree(capacityFrames)
  const shared = frames.share()
  const generations = new Int32Array(KEYS)
  let seq = 0
  for (let key = 0; key < KEYS; key++) {
    put(key, 0, ++seq)
    if (key % 200 === 0) await checkpoint()
    frames.reserve(8)
  }
  const control = new SharedArrayBuffer(8)
  const wanted = new Int32Array(control)
  let running = 2
  const results = [0, 1].map(
    (place) =>
      new Promise<ReaderResult>((resolve, reject) => {
        const worker = new Worker(new URL('./fixtures/shared-reader.mjs', import.meta.url), {
          execArgv: [],
          workerData: {
            frames: shared,
            rootId: index.rootId,
            usableFrameBytes: USABLE_FRAME_BYTES,
            keyCount: KEYS,
            reads: READS / 2,
            seed: place + 1,
            control,
            place,
          },
        })
        worker.once('message', resolve)
        worker.once('error', reject)
        worker.once('exit', () => running--)
      }),
  )
  let state = 7
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
  let changes = 0
  const views: IndexView[] = []
  const rootId = index.rootId
  while (running > 0) {
    for (let i = 0; i < 500; i++) {
      for (const place of [0, 1]) {
        const id = Atomics.load(wanted, place)
        if (id <= 0) continue
        frames.fault(id as BlobId)
        Atomics.store(wanted, place, 0)
        Atomics.notify(wanted, place)
      }
      frames.reserve(8)
      if (viewsOpen > 0 && changes % 20 === 0) {
        views.push(index.view(seq))
        if (views.length > viewsOpen) views.shift()?.close()
        for (let next = index.unlinked.next; next !== undefined; next = index.unlinked.next) {
          if (!frames.isResident(next)) frames.fault(next)
          index.freeNextUnlinked()
        }
      }
      const key = below(KEYS)
      if (key % 2 === 1 && below(3) === 0) remove(key)
      else put(key, ++generations[key], ++seq)
      changes++
    }
    if (changes % 2_000 === 0) await checkpoint()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const done = await Promise.all(results)
  expect(index.rootId === rootId).toBe(viewsOpen === 0)
  expect(verifyTree(index).problems).toEqual([])
  expect(changes).toBeGreaterThan(1_000)
  return done
}

describe('threads that read a tree while its owner changes it', () => {
  test(
    'never see a torn value, one that is older than before, or miss a key that is there',
    async () => {
      const results = await readWhileWriting(64)
      for (const { found, absent } of results) {
        expect(found + absent).toBe(READS / 2)
        expect(found).toBeGreaterThan(READS / 4)
      }
    },
    TIMEOUT_MS,
  )

  test.each([1, 3])(
    'nor while views of it (%i at a time) have the owner copy the root again and again',
    async (viewsOpen) => {
      const results = await readWhileWriting(256, viewsOpen)
      for (const { found, absent } of results) expect(found + absent).toBe(READS / 2)
    },
    TIMEOUT_MS,
  )

  test(
    'nor in a cache so small that frames leave all the time',
    async () => {
      const results = await readWhileWriting(10)
      expect(results.some(({ waits }) => waits > 0)).toBe(true)
    },
    TIMEOUT_MS,
  )
})
