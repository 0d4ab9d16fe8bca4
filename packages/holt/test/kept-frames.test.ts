import { ArtIndex, UNKNOWN_BIRTH } from '@holt/art-index'
import { blobId } from '@holt/blob-buf-pool'
import { BufferManager, MemoryBlobStore } from '@holt/blob-store'
import { expect, it } from 'vitest'
import { Snapshots } from '../src/snapshots.js'

it('an image says of frames between which snapshots they were there, and nothing of other views', () => {
  const frames = new BufferManager({ store: new MemoryBlobStore(), capacityFrames: 32 })
  const index = ArtIndex.create(frames)
  const snapshots = new Snapshots(index)
  // Epochs 1 to 8; those of snapshots are 2, 4 and 6.
  for (let epoch = 1; epoch <= 8; epoch++) {
    if (epoch % 2 === 0 && epoch < 8)
      snapshots.apply({ kind: 'take', name: String(epoch), takenMs: 0 }, epoch)
    else index.view(epoch)
  }
  let id = 100
  const lives: (readonly [birth: number, death: number, kept: readonly [number, number]])[] = [
    [1, 2, [9, 9]],
    [1, 3, [2, 3]],
    [2, 9, [2, 7]],
    [3, 4, [9, 9]],
    [3, 6, [4, 5]],
    [5, 7, [6, 7]],
    [7, 9, [9, 9]],
    [0, 5, [2, 5]],
    [UNKNOWN_BIRTH, 2, [9, 9]],
    [UNKNOWN_BIRTH, 5, [UNKNOWN_BIRTH, 5]],
  ]
  for (const [birth, death] of lives) {
    if (birth !== UNKNOWN_BIRTH) index.unlinked.addSingle(blobId(id++), birth, death)
    else index.unlinked.addRoot(blobId(id++), birth, death)
  }
  expect(snapshots.framesToKeep()).toEqual(
    lives.map(([lived, , [birth, death]], i) => ({
      id: 100 + i,
      isSingle: lived !== UNKNOWN_BIRTH,
      birth,
      death,
    })),
  )
})
