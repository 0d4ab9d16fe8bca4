import type { BlobId } from '@holt/blob-buf-pool'
import type { VacuumStep } from './blob-store.js'
import type { FrameWriter } from './data-file.js'
import type { DiskSlots } from './disk-slots.js'
import { frameBuffers } from './frame-buffers.js'
import type { Mapping, MappingTable } from './mapping-table.js'

/** What a step of a vacuum works on: a file store with nothing staged. */
export interface VacuumParts {
  readonly mapping: MappingTable
  readonly slots: DiskSlots
  readonly writer: FrameWriter
  readonly read: (id: BlobId, into: Uint8Array) => Promise<void>
  readonly stage: (id: BlobId, place: Mapping) => void
  /** Commits what is staged, with the note of the last flush. */
  readonly commit: () => Promise<void>
  /** The blob whose slot is the next to be punched, and where that goes on: `undefined` when all were. */
  readonly punchFrom: BlobId
  readonly punchedTo: (next: BlobId | undefined) => void
}

/** A hole costs so much less than to move a frame. */
const PUNCHES_PER_MOVE = 16

interface Move {
  readonly id: BlobId
  readonly from: Mapping
  readonly to: number
}

/**
 * Moves the frames of the highest disk slots into the lowest free ones, up to `maxFrames` of them, then cuts off the end
 * of the data file that no slot in use reaches. When nothing is left to move, it gives back what lies behind the pages in
 * use of each disk slot, some slots a step: a frame was given room for all of its pages.
 *
 * Only ever copies: the moved frames, byte for byte the same, are committed by one record of the manifest like any other
 * write, so that before it the old places count, all still whole, and after it the new ones. Only then the old places
 * are free, and only places that are free, or never were written, lie behind the new end of the file.
 */
export async function vacuumStep(parts: VacuumParts, maxFrames: number): Promise<VacuumStep> {
  const { mapping, slots, writer } = parts
  const moves = planMoves(mapping, slots, maxFrames)
  if (moves.length > 0) {
    try {
      await copyFrames(parts, moves)
    } catch (error) {
      for (const { to } of moves) slots.release(to)
      throw error
    }
    for (const { id, from, to } of moves) parts.stage(id, { ...from, diskSlot: to })
    await parts.commit()
  }
  const before = writer.sizeBytes
  await writer.cutOff(slots.reach)
  const cutBytes = before - writer.sizeBytes
  if (moves.length > 0) return { movedFrames: moves.length, freedBytes: cutBytes, isDone: false }
  const { ids, next } = mapping.idsFrom(parts.punchFrom, maxFrames * PUNCHES_PER_MOVE)
  // A free slot's pages are whatever they were: the next frame there needs them.
  const punchedBytes = await writer.punchTails(ids.flatMap((id) => mapping.get(id) ?? []))
  parts.punchedTo(next)
  return { movedFrames: 0, freedBytes: cutBytes + punchedBytes, isDone: next === undefined }
}

/** Takes a free slot for each move. */
function planMoves(mapping: MappingTable, slots: DiskSlots, maxFrames: number): Move[] {
  // As many slots as there are blobs: whatever lies behind them is to be moved, and there are as many holes before.
  const end = mapping.count
  const beyond: { readonly id: BlobId; readonly from: Mapping }[] = []
  for (const id of mapping.ids()) {
    const from = mapping.get(id)
    if (from !== undefined && from.diskSlot >= end) beyond.push({ id, from })
  }
  beyond.sort((a, b) => b.from.diskSlot - a.from.diskSlot)
  const moves: Move[] = []
  for (const { id, from } of beyond.slice(0, maxFrames)) {
    const to = slots.takeLowest()
    if (to > from.diskSlot) {
      // Its place is as good as any that is free.
      slots.release(to)
      break
    }
    moves.push({ id, from, to })
  }
  return moves
}

async function copyFrames({ read, writer }: VacuumParts, moves: readonly Move[]): Promise<void> {
  const frames = frameBuffers(moves.length)
  await Promise.all(moves.map(({ id }, i) => read(id, frames[i])))
  await writer.write(moves.map(({ to }, i) => ({ diskSlot: to, frame: frames[i] })))
}
