import { blobId } from '@holt/blob-buf-pool'
import { expect, it } from 'vitest'
import { MappingTable } from '../src/mapping-table.js'
import { verifyMapping } from '../src/verify-mapping.js'

const place = (diskSlot: number): { diskSlot: number; pages: number; headerCrc: number } => ({
  diskSlot,
  pages: 1,
  headerCrc: 7,
})

it('every blob in a disk slot of its own is fine', () => {
  const mapping = MappingTable.create(64)
  for (let id = 1; id < 40; id++) mapping.set(blobId(id), place(50 - id))
  expect(verifyMapping(mapping)).toEqual([])
})

it('names both blobs of a disk slot that is used twice', () => {
  const mapping = MappingTable.create(64)
  mapping.set(blobId(3), place(9))
  mapping.set(blobId(4), place(8))
  mapping.set(blobId(7), place(9))
  expect(verifyMapping(mapping)).toEqual([{ blobId: 7, what: 'disk slot 9 is that of blob 3 too' }])
  mapping.remove(blobId(3))
  expect(verifyMapping(mapping)).toEqual([])
})
