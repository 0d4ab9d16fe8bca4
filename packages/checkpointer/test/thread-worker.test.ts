import { type BlobId, FRAME_BYTES, Slab, type Slot } from '@holt/blob-buf-pool'
import { CLEAN, FLUSHING, SlotTable } from '@holt/blob-store'
import { afterEach, describe, expect, it } from 'vitest'
import { type Epoch, ThreadEpochWorker } from '../src/index.js'

const MARK_OFFSET = 10_000

/** The words of `fixtures/thread-store.mjs`. */
const FLUSHES = 0
const FRAMES = 1
const MARK = 2
const FAIL_AT = 3
const DIE_AT = 4
const WAIT_IN = 5
const RELEASED = 6
const WAITING = 7
const FAILING_OPENS = 8

class Scene {
  readonly words = new Int32Array(new SharedArrayBuffer(4 * 16))
  readonly slab = Slab.create({
    frameBytes: FRAME_BYTES,
    frameCount: 4,
    maxFrameCount: 16,
    segmentFrameCount: 4,
  })
  readonly slots = SlotTable.create(17)
  readonly worker: ThreadEpochWorker
  #number = 0

  constructor(options: { readonly queueCapacity?: number; readonly groupEpochs?: number } = {}) {
    this.worker = new ThreadEpochWorker({
      store: {
        moduleUrl: new URL('fixtures/thread-store.mjs', import.meta.url).href,
        data: { words: this.words.buffer },
      },
      slab: this.slab,
      slots: this.slots,
      io: 'fs',
      ...options,
    })
  }

  epoch(mark: number | undefined, follows = this.#number): Epoch {
    const number = ++this.#number
    const frames: { id: BlobId; slot: Slot }[] = []
    if (mark !== undefined) {
      if (this.slab.freeCount === 0) this.slab.grow(4)
      const slot = this.slab.lease()
      this.slab.bytes(slot)[MARK_OFFSET] = mark
      this.slots.states[slot] = FLUSHING
      frames.push({ id: number as BlobId, slot })
    }
    return { number, follows, frames, deletes: [], note: Uint8Array.of(number) }
  }

  /** Until the thread waits inside a flush. */
  async whenWaiting(): Promise<void> {
    const waited = Atomics.waitAsync(this.words, WAITING, 0)
    if (waited.async) await waited.value
  }
  release(): void {
    Atomics.store(this.words, RELEASED, 1)
    Atomics.notify(this.words, RELEASED)
  }
}

describe('the I/O worker as a thread', () => {
  let scene: Scene
  afterEach(async () => {
    scene.release()
    await scene.worker.stop()
  })

  it('commits from shared memory, also what the slab has grown by, and retires there', async () => {
    scene = new Scene()
    for (let mark = 1; mark <= 6; mark++) {
      const epoch = scene.epoch(mark)
      expect(await scene.worker.submit(epoch)).toMatchObject({
        epoch: mark,
        isCommitted: true,
        framesFlushed: 1,
        deletesLeft: [],
      })
      expect(scene.words[MARK]).toBe(mark)
      expect(scene.slots.states[epoch.frames[0].slot]).toBe(CLEAN)
    }
    expect([scene.words[FLUSHES], scene.words[FRAMES]]).toEqual([6, 6])
  })

  it('makes slots clean while the thread that submitted is blocked', async () => {
    scene = new Scene()
    scene.words[WAIT_IN] = 1
    const epoch = scene.epoch(1)
    const report = scene.worker.submit(epoch)
    await scene.whenWaiting()
    scene.release()
    const untilMs = performance.now() + 10_000
    while (scene.slots.states[epoch.frames[0].slot] !== CLEAN && performance.now() < untilMs);
    expect(scene.slots.states[epoch.frames[0].slot]).toBe(CLEAN)
    expect((await report).isCommitted).toBe(true)
  })

  it('B3, B4: joins the epochs that wait', async () => {
    scene = new Scene({ groupEpochs: 64 })
    scene.words[WAIT_IN] = 1
    const reports = [scene.worker.submit(scene.epoch(1))]
    await scene.whenWaiting()
    for (let mark = 2; mark <= 4; mark++) reports.push(scene.worker.submit(scene.epoch(mark)))
    scene.release()
    expect((await Promise.all(reports)).map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4])
    expect([scene.words[FLUSHES], scene.words[FRAMES]]).toEqual([2, 4])
  })

  it('B2, B13: holds back what is more than its queue takes; a stop commits what was taken, and refuses the rest', async () => {
    scene = new Scene({ queueCapacity: 2 })
    scene.words[WAIT_IN] = 1
    const outcomes = Promise.allSettled([1, 2, 3, 4].map((mark) => scene.worker.submit(scene.epoch(mark))))
    await scene.whenWaiting()
    const stopped = scene.worker.stop()
    scene.release()
    await stopped
    expect(
      (await outcomes).map((outcome) =>
        outcome.status === 'rejected' ? 'refused' : outcome.value.isCommitted,
      ),
    ).toEqual([true, true, 'refused', 'refused'])
    expect(scene.words[FLUSHES]).toBe(2)
    for (const late of [scene.worker.submit(scene.epoch(undefined)), scene.worker.vacuum(1)])
      await expect(late).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })

  it('B2: lets in what was held back as soon as there is room', async () => {
    scene = new Scene({ queueCapacity: 1 })
    const reports = await Promise.all([1, 2, 3].map((mark) => scene.worker.submit(scene.epoch(mark))))
    expect(reports.map(({ isCommitted }) => isCommitted)).toEqual([true, true, true])
    expect(scene.words[MARK]).toBe(3)
  })

  it('B11: tells the cause with its code, of those that follow the failed one too', async () => {
    scene = new Scene()
    scene.words[FAIL_AT] = 1
    const reports = await Promise.all([1, 2].map((mark) => scene.worker.submit(scene.epoch(mark))))
    for (const { error, isCommitted } of reports) {
      expect(isCommitted).toBe(false)
      expect(error).toMatchObject({ code: 'HOLT_NO_SPACE', errno: 'ENOSPC', path: '/disk', message: 'full' })
    }
    expect((await scene.worker.submit(scene.epoch(3, 0))).isCommitted).toBe(true)
    expect(scene.words[FLUSHES]).toBe(2)
  })

  it('B30: a thread that dies fails what it had and what waited for it; the next epoch starts another', async () => {
    scene = new Scene({ queueCapacity: 2 })
    scene.words[DIE_AT] = 1
    const reports = await Promise.all([1, 2, 3].map((mark) => scene.worker.submit(scene.epoch(mark))))
    expect(reports.map(({ isCommitted }) => isCommitted)).toEqual([false, false, false])
    for (const { error } of reports) expect(error).toMatchObject({ code: 'HOLT_CHECKPOINT_FAILED' })
    expect((await scene.worker.submit(scene.epoch(4, 0))).isCommitted).toBe(true)
  })

  it('a thread whose store does not open fails its epochs by that error; the next one tries again', async () => {
    scene = new Scene()
    scene.words[FAILING_OPENS] = 1
    const { error } = await scene.worker.submit(scene.epoch(1))
    expect(error).toMatchObject({ code: 'HOLT_CORRUPT', message: 'no store here' })
    expect((await scene.worker.submit(scene.epoch(2, 0))).isCommitted).toBe(true)
  })
})
