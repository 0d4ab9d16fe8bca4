import type { BlobId } from '@holt/blob-buf-pool'
import type { MappingTable } from './mapping-table.js'

/** A blob whose place on the disk cannot be right. */
export interface MappingProblem {
  readonly blobId: BlobId
  readonly what: string
}

/**
 * Looks for disk slots that two blobs share. The thread that writes may publish a flush meanwhile, so that of two entries
 * one may be older: what looks wrong is looked at again.
 */
export function verifyMapping(mapping: MappingTable): MappingProblem[] {
  const problems: MappingProblem[] = []
  const owners = new Map<number, BlobId>()
  for (const id of mapping.ids()) {
    const place = mapping.get(id)
    if (place === undefined) continue
    const owner = owners.get(place.diskSlot)
    owners.set(place.diskSlot, id)
    if (owner === undefined) continue
    const now = mapping.get(id)?.diskSlot
    if (now === undefined || now !== mapping.get(owner)?.diskSlot) continue
    problems.push({ blobId: id, what: `disk slot ${String(now)} is that of blob ${String(owner)} too` })
  }
  return problems
}
