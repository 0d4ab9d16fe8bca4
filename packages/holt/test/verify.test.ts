import { mkdtemp, open as openFile, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ArtIndex } from '@holt/art-index'
import { blobId } from '@holt/blob-buf-pool'
import { BufferManager, MemoryBlobStore } from '@holt/blob-store'
import { FsIo } from '@holt/uring-native'
import { Engine } from '../src/engine.js'
import { type Db, open, openMemory, type Tree, type VerifyProgress } from '../src/index.js'
import { Snapshots } from '../src/snapshots.js'
import { verifyDatabase } from '../src/verify.js'

const FRAME_BYTES = 2 ** 19
const code = (value: string): unknown => expect.objectContaining({ code: value })

describe('verify', () => {
  let path: string
  let db: Db
  let tree: Tree<string, Uint8Array>
  const options = { usableFrameBytes: 16_384, checkpoint: { thread: false } }
  const key = (i: number): string => `dir-${String(i % 9)}/key-${String(i)}`

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'holt-verify-'))
    db = await open(path, options)
    tree = await db.tree('t')
    for (let i = 0; i < 600; i++) await tree.put(key(i), new Uint8Array(100).fill(i))
  })
  afterEach(async () => {
    await db.close()
    await rm(path, { recursive: true, force: true })
  })

  it('finds a sound database sound, before and after a checkpoint, and tells how far it is', async () => {
    for (const checkpoint of [false, true]) {
      if (checkpoint) await db.checkpoint()
      const seen: VerifyProgress[] = []
      const report = await db.verify({ onProgress: (progress) => seen.push(progress) })
      expect(report.problems).toEqual([])
      // Two records of the catalogue are keys too.
      expect(report.keys).toBe(602)
      expect(report.blobIds.length).toBeGreaterThan(4)
      expect(seen.map(({ frames }) => frames)).toEqual(report.blobIds.map((_, i) => i + 1))
      expect(seen.at(-1)?.framesTotal).toBe(report.blobIds.length)
    }
  })

  it('changes nothing on the disk and waits for nothing in a database that was only read', async () => {
    await db.close()
    const before = await readFile(join(path, 'manifest'))
    db = await open(path, options)
    expect((await db.verify()).problems).toEqual([])
    expect(await readFile(join(path, 'manifest'))).toEqual(before)
  })

  it('names the frame whose stored image rotted although it is sound in memory', async () => {
    await db.checkpoint()
    expect((await db.verify()).problems).toEqual([])
    const data = join(path, 'blobs.dat')
    const file = await openFile(data, 'r+')
    // Slot 0 holds some frame of the first flush; page 1 is in use in every frame that holds a key.
    await file.write(new Uint8Array([0xee]), 0, 1, 2 * FRAME_BYTES + 4_096 + 100)
    await file.close()
    const { problems } = await db.verify()
    expect(problems).toHaveLength(1)
    expect(problems[0].what).toMatch(/stored image.*blobs\.dat at 1048576.*page 1/)
    expect(problems[0].blobId).toBeGreaterThan(0)
  })

  it('names the frame that cannot be loaded, and goes on with the others', async () => {
    await db.close()
    const bytes = await readFile(join(path, 'blobs.dat'))
    for (let at = 4_096; at < bytes.length; at += FRAME_BYTES) bytes[at] ^= 0xff
    await writeFile(join(path, 'blobs.dat'), bytes)
    db = await open(path, options)
    const { problems } = await db.verify()
    expect(problems.some(({ what }) => /cannot be read.*blobs\.dat at \d+/.test(what))).toBe(true)
  })

  it('gives the event loop its turn, so that timers and writes come through', async () => {
    let turns = 0
    const timer = setInterval(() => turns++, 0)
    await db.checkpoint()
    const verifying = db.verify()
    await new Promise((resolve) => setTimeout(resolve, 5))
    clearInterval(timer)
    await tree.put('meanwhile', new Uint8Array(1))
    expect((await verifying).problems).toEqual([])
    expect(turns).toBeGreaterThan(0)
  })

  it('comes to an end under writes that never stop, which wait in the end and are applied', async () => {
    let stop = false
    let written = 0
    const writer = (async (): Promise<void> => {
      while (!stop) {
        await tree.put(`new-${String(written++)}`, new Uint8Array(50))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let round = 0; round < 3; round++) expect((await db.verify()).problems).toEqual([])
    stop = true
    await writer
    expect(tree.count({ prefix: 'new-' }).keys).toBe(written)
    expect(db.stats().writes.waiting).toBe(0)
  })

  it('ends with the reason of its signal, at once and in the middle', async () => {
    await expect(db.verify({ signal: AbortSignal.abort(new Error('mine')) })).rejects.toThrow('mine')
    const controller = new AbortController()
    const aborted = db.verify({
      signal: controller.signal,
      onProgress: ({ frames }) => {
        if (frames === 2) controller.abort(new Error('enough'))
      },
    })
    await expect(aborted).rejects.toThrow('enough')
    await tree.put('after', new Uint8Array(1))
  })

  it('ends with HOLT_CLOSED when the database is closed meanwhile, and holds nothing up', async () => {
    let closing: Promise<void> | undefined
    const verifying = db.verify({
      onProgress: () => {
        closing ??= db.close()
      },
    })
    await expect(verifying).rejects.toEqual(code('HOLT_CLOSED'))
    await closing
    await expect(db.verify()).rejects.toEqual(code('HOLT_CLOSED'))
  })

  it('refuses options it does not know', async () => {
    await expect(db.verify({ onprogress: () => undefined } as object)).rejects.toEqual(
      code('HOLT_INVALID_ARGUMENT'),
    )
  })
})

it('verify works in memory', async () => {
  const db = await openMemory()
  await (await db.tree('t')).put('k', new Uint8Array(1))
  expect((await db.verify()).problems).toEqual([])
  await db.close()
})

function makeEngine(): Engine {
  const store = new MemoryBlobStore()
  const frames = new BufferManager({ store, capacityFrames: 32 })
  const index = ArtIndex.create(frames)
  return new Engine({
    io: FsIo.create(),
    frames,
    index,
    snapshots: new Snapshots(index),
    store,
    journal: undefined,
    checkpointer: undefined,
    durability: 'memory',
    seq: 0,
    lastSeq: 0,
    start: () => Promise.resolve(),
    backgroundCompaction: false,
  })
}

it('verify names what a snapshot sees and could lose', async () => {
  const engine = makeEngine()
  const { io, frames, index, snapshots } = engine
  snapshots.apply({ kind: 'take', name: 'first', takenMs: 0 }, 1)
  expect((await verifyDatabase(engine, {})).problems).toEqual([])
  const { rootId } = index
  // As if it were given up, and from before the snapshot.
  index.unlinked.addSingle(rootId, 1, 1)
  const what = 'the tree says it had it from epoch 1 to 1, the view is of 1'
  expect((await verifyDatabase(engine, {})).problems).toContainEqual({
    blobId: rootId,
    ref: 0,
    what: `seen by snapshot 'first': ${what}`,
  })
  index.unlinked.removeNext()
  // One whose frames are in no book.
  const stray = ArtIndex.create(frames)
  snapshots.restore([{ name: 'stray', takenMs: 0, epoch: 2, seq: 2, rootId: stray.rootId }], [])
  expect((await verifyDatabase(engine, {})).problems).toEqual([
    { blobId: stray.rootId, ref: 0, what: 'the frame belongs to nothing: it has leaked' },
    { blobId: stray.rootId, ref: 0, what: "seen by snapshot 'stray': the frame belongs to nothing" },
  ])
  await io.dispose()
})

it('verify names a frame that no part of the tree is, and a stored one that nobody knows', async () => {
  const engine = makeEngine()
  const { io, store, frames } = engine
  expect((await verifyDatabase(engine, {})).problems).toEqual([])
  const lost = frames.allocate()
  await store.write(blobId(9), new Uint8Array(FRAME_BYTES))
  expect((await verifyDatabase(engine, {})).problems).toEqual([
    { blobId: lost, ref: 0, what: 'the frame belongs to nothing: it has leaked' },
    { blobId: 9, ref: 0, what: 'a stored frame that nobody knows' },
  ])
  frames.free(lost)
  await store.delete(blobId(9))
  expect((await verifyDatabase(engine, {})).problems).toEqual([])
  await io.dispose()
})
