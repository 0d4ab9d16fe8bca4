import assert from 'node:assert/strict'
import {
  blobId,
  type BlobId,
  ENVELOPE_BYTES,
  FRAME_BYTES,
  MAX_BLOB_ID,
  PAGE_BYTES,
  PAGES_PER_FRAME,
  USED_UNITS,
} from '@holt/blob-buf-pool'
import { type HoltErrorCode, isHoltError } from '@holt/errors'
import { type BlobStore, MAX_NOTE_BYTES } from './blob-store.js'

/** A store, empty, for one test. */
export interface ConformanceTarget {
  readonly store: BlobStore
  /**
   * What a process would find that opens the store after this one was killed: what was not flushed is gone. The
   * instance before is not used any more.
   */
  reopen(): Promise<BlobStore>
  /** Changes one stored byte of the blob as of the last flush. Only with `supports.corrupt`. */
  corrupt?(id: BlobId, offsetBytes: number): Promise<void>
  /** Has the next flush fail before it commits anything. Only with `supports.failFlush`. */
  failNextFlush?(): void
  /** Called last. */
  cleanup(): Promise<void>
}

/** What the target offers beyond a store; what is missing here is taken to be lacking. */
export interface ConformanceSupports {
  readonly corrupt?: boolean
  readonly failFlush?: boolean
}

export interface ConformanceOptions {
  /** How the runner takes a test: `test` or `it` of vitest, node:test, mocha and others. */
  readonly test: (title: string, body: () => Promise<void>) => unknown
  readonly factory: () => Promise<ConformanceTarget>
  readonly supports?: ConformanceSupports
}

const NOTE = new Uint8Array([1, 2, 3])

/** A frame over shared memory, as the engine's are; every byte of its owner depends on `seed`, and `pages` are in use. */
function frameOf(seed: number, pages = PAGES_PER_FRAME): Uint8Array {
  const frame = new Uint8Array(new SharedArrayBuffer(FRAME_BYTES))
  let state = seed >>> 0
  const words = new Uint32Array(frame.buffer)
  for (let i = ENVELOPE_BYTES / 4; i < words.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    words[i] = state
  }
  words[USED_UNITS / 4] = (pages * PAGE_BYTES) / 8
  return frame
}

function emptyFrame(): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(FRAME_BYTES))
}

/** Compares what belongs to the frame's owner, in the pages in use. */
function assertSameFrame(found: Uint8Array, seed: number, pages = PAGES_PER_FRAME): void {
  const expected = frameOf(seed, pages)
  const end = pages * PAGE_BYTES
  assert.equal(Buffer.compare(found.subarray(ENVELOPE_BYTES, end), expected.subarray(ENVELOPE_BYTES, end)), 0)
}

async function assertHolds(store: BlobStore, id: BlobId, seed: number): Promise<void> {
  assert.equal(store.has(id), true)
  const into = emptyFrame()
  await store.read(id, into)
  assertSameFrame(into, seed)
}

async function assertLacks(store: BlobStore, id: BlobId): Promise<void> {
  assert.equal(store.has(id), false)
  assert.equal(store.list().includes(id), false)
  await assertRejects(() => store.read(id, emptyFrame()), 'HOLT_NOT_FOUND')
}

async function assertRejects(run: () => Promise<unknown>, code: HoltErrorCode): Promise<void> {
  await assert.rejects(run, (error: unknown) => {
    assert.equal(isHoltError(error) ? error.code : String(error), code)
    return true
  })
}

function assertThrows(run: () => unknown, code: HoltErrorCode): void {
  assert.throws(run, (error: unknown) => {
    assert.equal(isHoltError(error) ? error.code : String(error), code)
    return true
  })
}

/**
 * Declares the tests that every {@link BlobStore} must pass, with whatever runner `test` stands for. Each test gets a
 * fresh store from `factory` and calls `cleanup` at the end.
 *
 * ```ts
 * conformance({
 *   test,
 *   factory: async () => {
 *     let store = new MemoryBlobStore()
 *     return { store, reopen: async () => (store = store.reopen()), cleanup: async () => {} }
 *   },
 * })
 * ```
 */
export function conformance(options: ConformanceOptions): void {
  const supports = options.supports ?? {}
  const test = (title: string, body: (target: ConformanceTarget) => Promise<void>): void => {
    void options.test(title, async () => {
      const target = await options.factory()
      try {
        await body(target)
      } finally {
        await target.cleanup()
      }
    })
  }
  const [one, two, three] = [blobId(1), blobId(2), blobId(3)]

  // ---- reading and writing -------------------------------------------------------------------------------------

  test('a fresh store is empty and has no note', async ({ store }) => {
    assert.deepEqual(store.list(), [])
    assert.equal(store.note(), undefined)
    assert.equal(store.needsFlush, false)
    assert.equal(store.stats().blobs, 0)
    await assertLacks(store, one)
  })

  test('what is staged is read by the same instance', async ({ store }) => {
    await store.write(two, frameOf(7))
    await assertHolds(store, two, 7)
    assert.equal(store.needsFlush, true)
    assert.equal(store.stats().blobs, 1)
  })

  test('a frame may lie in ordinary memory', async ({ store }) => {
    const frame = new Uint8Array(FRAME_BYTES)
    frame.set(frameOf(7))
    await store.write(two, frame)
    const into = new Uint8Array(FRAME_BYTES)
    await store.read(two, into)
    assertSameFrame(into, 7)
  })

  test('the stored frame does not change with the buffer it came from', async ({ store }) => {
    const frame = frameOf(7)
    await store.write(two, frame)
    frame.fill(0)
    await assertHolds(store, two, 7)
  })

  test('a written frame replaces the one before', async ({ store }) => {
    for (const seed of [1, 2, 3]) {
      await store.write(two, frameOf(seed))
      await assertHolds(store, two, seed)
      if (seed === 1) await store.flush(NOTE)
    }
    assert.deepEqual(store.list(), [2])
    assert.equal(store.stats().blobs, 1)
  })

  test('writeMany stages every frame, and of several for one id the last', async ({ store }) => {
    await store.writeMany([
      { id: two, frame: frameOf(1) },
      { id: one, frame: frameOf(2) },
      { id: two, frame: frameOf(3) },
    ])
    await assertHolds(store, one, 2)
    await assertHolds(store, two, 3)
    assert.deepEqual(store.list(), [1, 2])
  })

  test('writeMany of nothing stages nothing', async ({ store }) => {
    await store.writeMany([])
    assert.equal(store.needsFlush, false)
  })

  test('mutations that are not awaited one by one take effect in the order of the calls', async ({
    store,
  }) => {
    await Promise.all([
      store.write(one, frameOf(1)),
      store.write(one, frameOf(2)),
      store.delete(one),
      store.write(one, frameOf(3)),
      store.write(two, frameOf(4)),
      store.delete(two),
    ])
    await assertHolds(store, one, 3)
    await assertLacks(store, two)
  })

  test('the largest id can be used', async ({ store }) => {
    const last = blobId(MAX_BLOB_ID)
    await store.write(last, frameOf(5))
    await store.flush(NOTE)
    await assertHolds(store, last, 5)
    assert.deepEqual(store.list(), [MAX_BLOB_ID])
  })

  test('list is ascending and shows what is staged and what is flushed', async ({ store }) => {
    for (const id of [300, 2, 100]) await store.write(blobId(id), frameOf(id))
    await store.flush(NOTE)
    for (const id of [7, 200]) await store.write(blobId(id), frameOf(id))
    await store.delete(blobId(100))
    assert.deepEqual(store.list(), [2, 7, 200, 300])
  })

  test('readMany fills every buffer', async ({ store }) => {
    const ids = [1, 2, 3, 4, 5].map(blobId)
    await store.writeMany(ids.map((id) => ({ id, frame: frameOf(id) })))
    const reads = ids.map((id) => ({ id, into: emptyFrame() }))
    await store.readMany(reads)
    for (const { id, into } of reads) assertSameFrame(into, id)
    await store.readMany([])
  })

  test('readMany reports a blob that is not there after it has filled the others', async ({ store }) => {
    await store.write(one, frameOf(1))
    const into = emptyFrame()
    await assertRejects(
      () =>
        store.readMany([
          { id: three, into: emptyFrame() },
          { id: one, into },
        ]),
      'HOLT_NOT_FOUND',
    )
    assertSameFrame(into, 1)
  })

  test('readSync reads as read does, where it is supported', async ({ store }) => {
    if (!store.supports.syncReads) return
    await store.write(one, frameOf(1))
    const into = emptyFrame()
    store.readSync(one, into)
    assertSameFrame(into, 1)
    await store.flush(NOTE)
    into.fill(0)
    store.readSync(one, into)
    assertSameFrame(into, 1)
    assertThrows(() => {
      store.readSync(two, into)
    }, 'HOLT_NOT_FOUND')
  })

  test('readRange gives the pages asked for, where it is supported', async ({ store }) => {
    if (!store.supports.rangedReads) return
    await store.write(one, frameOf(1))
    const whole = emptyFrame()
    await store.read(one, whole)
    for (const [offset, length] of [
      [0, PAGE_BYTES],
      [0, 3 * PAGE_BYTES],
      [5 * PAGE_BYTES, 2 * PAGE_BYTES],
      [FRAME_BYTES - PAGE_BYTES, PAGE_BYTES],
      [0, FRAME_BYTES],
    ] as const) {
      const into = new Uint8Array(length)
      await store.readRange(one, offset, into)
      assert.equal(Buffer.compare(into, whole.subarray(offset, offset + length)), 0)
    }
    await assertRejects(() => store.readRange(two, 0, new Uint8Array(PAGE_BYTES)), 'HOLT_NOT_FOUND')
    for (const [offset, length] of [
      [1, PAGE_BYTES],
      [0, 100],
      [0, 0],
      [-PAGE_BYTES, PAGE_BYTES],
      [FRAME_BYTES, PAGE_BYTES],
    ] as const) {
      await assertRejects(() => store.readRange(one, offset, new Uint8Array(length)), 'HOLT_INVALID_ARGUMENT')
    }
  })

  test('of a frame that uses few pages those are kept, over every kind of write and read', async (target) => {
    let { store } = target
    for (const [round, pages] of [128, 1, 2, 77, 1, 128].entries()) {
      await store.write(one, frameOf(round, pages))
      for (const flushed of [false, true]) {
        if (flushed) {
          await store.flush(NOTE)
          store = await target.reopen()
        }
        // The reader's buffer holds something else already.
        const into = frameOf(99)
        await store.read(one, into)
        assertSameFrame(into, round, pages)
        if (store.supports.syncReads) {
          const again = frameOf(99)
          store.readSync(one, again)
          assertSameFrame(again, round, pages)
        }
        if (!store.supports.rangedReads) continue
        const whole = frameOf(99)
        await store.readRange(one, 0, whole)
        assertSameFrame(whole, round, pages)
        assert.equal(
          whole.subarray(pages * PAGE_BYTES).every((byte) => byte === 0),
          true,
        )
        const last = frameOf(99).subarray(0, PAGE_BYTES)
        await store.readRange(one, FRAME_BYTES - PAGE_BYTES, last)
        assert.equal(Buffer.compare(last, whole.subarray(FRAME_BYTES - PAGE_BYTES)), 0)
      }
    }
  })

  test('readRange with page 0 at hand gives the same pages, and none of another image', async ({ store }) => {
    if (!store.supports.rangedReads) return
    await store.write(one, frameOf(1, 100))
    const whole = emptyFrame()
    await store.readRange(one, 0, whole)
    const header = whole.slice(0, PAGE_BYTES)
    const ways = [
      (offset: number, into: Uint8Array) => store.readRange(one, offset, into, header),
      ...(store.supports.syncReads
        ? [
            async (offset: number, into: Uint8Array) => {
              store.readRangeSync(one, offset, into, header)
            },
          ]
        : []),
    ]
    for (const read of ways) {
      for (const [offset, length] of [
        [0, PAGE_BYTES],
        [PAGE_BYTES, PAGE_BYTES],
        [98 * PAGE_BYTES, 4 * PAGE_BYTES],
        [120 * PAGE_BYTES, PAGE_BYTES],
      ] as const) {
        const into = new Uint8Array(length).fill(9)
        await read(offset, into)
        assert.equal(Buffer.compare(into, whole.subarray(offset, offset + length)), 0)
      }
    }
    await store.write(one, frameOf(2, 100))
    for (const read of ways)
      await assertRejects(() => read(5 * PAGE_BYTES, new Uint8Array(PAGE_BYTES)), 'HOLT_BUSY')
  })

  // ---- removing ------------------------------------------------------------------------------------------------

  test('a removal is staged: gone here, there after reopening', async (target) => {
    const { store } = target
    await store.write(one, frameOf(1))
    await store.flush(NOTE)
    await store.delete(one)
    await assertLacks(store, one)
    assert.equal(store.needsFlush, true)
    await assertHolds(await target.reopen(), one, 1)
  })

  test('a flushed removal stays', async (target) => {
    const { store } = target
    await store.writeMany([one, two].map((id) => ({ id, frame: frameOf(id) })))
    await store.flush(NOTE)
    await store.delete(one)
    await store.flush(NOTE)
    await assertLacks(store, one)
    const again = await target.reopen()
    await assertLacks(again, one)
    await assertHolds(again, two, 2)
  })

  test('removing what is not there changes nothing', async ({ store }) => {
    await store.delete(one)
    assert.equal(store.needsFlush, false)
    assert.deepEqual(store.list(), [])
  })

  test('removing what was only staged leaves nothing', async (target) => {
    const { store } = target
    await store.write(one, frameOf(1))
    await store.delete(one)
    await assertLacks(store, one)
    await store.flush(NOTE)
    await assertLacks(await target.reopen(), one)
  })

  test('a removed id can be written again', async (target) => {
    const { store } = target
    await store.write(one, frameOf(1))
    await store.flush(NOTE)
    await store.delete(one)
    await store.write(one, frameOf(2))
    await store.flush(NOTE)
    await assertHolds(await target.reopen(), one, 2)
  })

  // ---- flush ---------------------------------------------------------------------------------------------------

  test('what is not flushed is gone after reopening', async (target) => {
    const { store } = target
    await store.write(one, frameOf(1))
    await store.flush(NOTE)
    await store.writeMany([
      { id: one, frame: frameOf(2) },
      { id: two, frame: frameOf(3) },
    ])
    const again = await target.reopen()
    await assertHolds(again, one, 1)
    await assertLacks(again, two)
    assert.equal(again.needsFlush, false)
  })

  test('a store that was never flushed reopens empty', async (target) => {
    await target.store.write(one, frameOf(1))
    const again = await target.reopen()
    assert.deepEqual(again.list(), [])
    assert.equal(again.note(), undefined)
    await again.write(one, frameOf(2))
    await again.flush(NOTE)
    await assertHolds(again, one, 2)
  })

  test('frames, removals and note are committed together', async (target) => {
    const { store } = target
    await store.writeMany([one, two].map((id) => ({ id, frame: frameOf(id) })))
    await store.flush(new Uint8Array([1]))
    await store.write(three, frameOf(3))
    await store.write(two, frameOf(22))
    await store.delete(one)
    assert.deepEqual([...(store.note() ?? [])], [1])
    await store.flush(new Uint8Array([2, 2]))
    assert.equal(store.needsFlush, false)
    for (const instanceOf of [() => Promise.resolve(store), () => target.reopen()]) {
      const instance = await instanceOf()
      assert.deepEqual(instance.list(), [2, 3])
      assert.deepEqual([...(instance.note() ?? [])], [2, 2])
      await assertHolds(instance, two, 22)
      await assertHolds(instance, three, 3)
    }
  })

  test('a flush with nothing staged commits its note', async (target) => {
    const { store } = target
    await store.flush(new Uint8Array([1]))
    await store.flush(new Uint8Array([2]))
    assert.deepEqual([...((await target.reopen()).note() ?? [])], [2])
  })

  test('a note may be empty, or as long as the limit', async (target) => {
    const { store } = target
    await store.flush(new Uint8Array(0))
    assert.deepEqual(store.note(), new Uint8Array(0))
    const long = new Uint8Array(MAX_NOTE_BYTES).map((_, i) => i % 251)
    await store.flush(long)
    const again = await target.reopen()
    assert.deepEqual(again.note(), long)
    await again.flush(new Uint8Array(0))
    assert.deepEqual(again.note(), new Uint8Array(0))
  })

  test('neither the note given nor the note got is shared with the store', async ({ store }) => {
    // A Buffer, whose own `slice` shares memory.
    const note = Buffer.from([1, 2])
    const flushed = store.flush(note)
    note[0] = 9
    await flushed
    const got = store.note()
    assert.deepEqual([...(got ?? [])], [1, 2])
    got?.fill(0)
    assert.deepEqual([...(store.note() ?? [])], [1, 2])
  })

  test('many flushes in a row and across reopenings keep the newest of everything', async (target) => {
    let { store } = target
    for (let round = 0; round < 12; round++) {
      await store.write(blobId(1 + (round % 3)), frameOf(round))
      if (round % 4 === 3) await store.delete(three)
      await store.flush(new Uint8Array([round]))
      if (round % 5 === 4) store = await target.reopen()
    }
    store = await target.reopen()
    assert.deepEqual(store.list(), [1, 2])
    await assertHolds(store, one, 9)
    await assertHolds(store, two, 10)
    assert.deepEqual([...(store.note() ?? [])], [11])
  })

  // ---- what is refused -----------------------------------------------------------------------------------------

  test('a failed writeMany stages nothing', async ({ store }) => {
    await store.write(one, frameOf(1))
    const bad: [BlobId, Uint8Array][] = [
      [two, new Uint8Array(100)],
      [two, new Uint8Array(2 * FRAME_BYTES)],
      [blobId(0), frameOf(9)],
      [blobId(-1), frameOf(9)],
      [blobId(1.5), frameOf(9)],
      [blobId(MAX_BLOB_ID + 1), frameOf(9)],
    ]
    for (const [id, frame] of bad) {
      await assertRejects(
        () =>
          store.writeMany([
            { id: one, frame: frameOf(2) },
            { id: three, frame: frameOf(3) },
            { id, frame },
          ]),
        'HOLT_INVALID_ARGUMENT',
      )
    }
    await assertHolds(store, one, 1)
    assert.deepEqual(store.list(), [1])
  })

  test('a buffer that is not one frame long is refused', async ({ store }) => {
    await store.write(one, frameOf(1))
    await assertRejects(() => store.read(one, new Uint8Array(FRAME_BYTES - 1)), 'HOLT_INVALID_ARGUMENT')
    await assertRejects(
      () => store.readMany([{ id: one, into: new Uint8Array(FRAME_BYTES + 1) }]),
      'HOLT_INVALID_ARGUMENT',
    )
  })

  test('a note above the limit is refused and leaves staged what was', async (target) => {
    const { store } = target
    await store.flush(NOTE)
    await store.write(one, frameOf(1))
    await assertRejects(() => store.flush(new Uint8Array(MAX_NOTE_BYTES + 1)), 'HOLT_INVALID_ARGUMENT')
    await assertHolds(store, one, 1)
    assert.deepEqual(store.note(), NOTE)
    await store.flush(NOTE)
    await assertHolds(await target.reopen(), one, 1)
  })

  test('a closed store refuses everything, and closing again is no error', async ({ store }) => {
    await store.write(one, frameOf(1))
    await store.flush(NOTE)
    await store.close()
    await assertRejects(() => store.read(one, emptyFrame()), 'HOLT_CLOSED')
    await assertRejects(() => store.readMany([{ id: one, into: emptyFrame() }]), 'HOLT_CLOSED')
    await assertRejects(() => store.write(one, frameOf(1)), 'HOLT_CLOSED')
    await assertRejects(() => store.delete(one), 'HOLT_CLOSED')
    await assertRejects(() => store.flush(NOTE), 'HOLT_CLOSED')
    assertThrows(() => store.has(one), 'HOLT_CLOSED')
    assertThrows(() => store.list(), 'HOLT_CLOSED')
    await store.close()
  })

  // ---- what goes wrong -----------------------------------------------------------------------------------------

  if (supports.failFlush === true) {
    test('a failed flush drops what was staged and shows the last completed one', async (target) => {
      const { store } = target
      await store.writeMany([one, two].map((id) => ({ id, frame: frameOf(id) })))
      await store.flush(NOTE)
      await store.write(one, frameOf(9))
      await store.delete(two)
      await store.write(three, frameOf(9))
      target.failNextFlush?.()
      await assert.rejects(() => store.flush(new Uint8Array([9])))
      assert.equal(store.needsFlush, false)
      assert.deepEqual(store.note(), NOTE)
      assert.deepEqual(store.list(), [1, 2])
      await assertHolds(store, one, 1)
      await assertHolds(store, two, 2)
      await store.write(three, frameOf(3))
      await store.flush(new Uint8Array([4]))
      const again = await target.reopen()
      assert.deepEqual(again.list(), [1, 2, 3])
      assert.deepEqual([...(again.note() ?? [])], [4])
      await assertHolds(again, one, 1)
      await assertHolds(again, three, 3)
    })
  }

  if (supports.corrupt === true) {
    test('a changed byte anywhere in a frame is an error of every kind of read', async (target) => {
      const { store } = target
      await store.writeMany([one, two].map((id) => ({ id, frame: frameOf(id) })))
      await store.flush(NOTE)
      for (const offset of [
        0,
        5,
        9,
        20,
        200,
        ENVELOPE_BYTES,
        PAGE_BYTES,
        77 * PAGE_BYTES + 5,
        FRAME_BYTES - 1,
      ]) {
        await target.corrupt?.(one, offset)
        await assertRejects(() => store.read(one, emptyFrame()), 'HOLT_CORRUPT')
        if (store.supports.syncReads) {
          assertThrows(() => {
            store.readSync(one, emptyFrame())
          }, 'HOLT_CORRUPT')
        }
        if (store.supports.rangedReads) {
          const page = offset - (offset % PAGE_BYTES)
          await assertRejects(() => store.readRange(one, page, new Uint8Array(PAGE_BYTES)), 'HOLT_CORRUPT')
          if (store.supports.syncReads) {
            assertThrows(() => {
              store.readRangeSync(one, page, new Uint8Array(PAGE_BYTES))
            }, 'HOLT_CORRUPT')
          }
        }
        await store.write(one, frameOf(1))
        await store.flush(NOTE)
        await assertHolds(store, one, 1)
      }
      await assertHolds(store, two, 2)
    })

    test('a changed byte of a page in use is an error, one of another page is nothing', async (target) => {
      const { store } = target
      for (const [offset, matters] of [
        [0, true],
        [USED_UNITS, true],
        [3 * PAGE_BYTES - 1, true],
        [3 * PAGE_BYTES, false],
        [FRAME_BYTES - 1, false],
      ] as const) {
        await store.write(one, frameOf(1, 3))
        await store.flush(NOTE)
        await target.corrupt?.(one, offset)
        const into = emptyFrame()
        if (matters) await assertRejects(() => store.read(one, into), 'HOLT_CORRUPT')
        else {
          await store.read(one, into)
          assertSameFrame(into, 1, 3)
        }
      }
    })
  }
}
