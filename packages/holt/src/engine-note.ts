import { type ArtIndex, type KeptFrame, UNKNOWN_BIRTH, type ViewPlace } from '@holt/art-index'
import { type BlobId, MAX_BLOB_ID } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import type { Lsn } from '@holt/journal'
import type { Snapshots } from './snapshots.js'

/**
 * What the engine commits with each checkpoint, beside the frames. Little-endian:
 *
 * ```
 *  0  note version   u16 (4)     2  reserved u16     4  root blob id  u32
 *  8  seq            f64   last one applied in this image
 * 16  seq floor      f64   versions below it may have been handed out
 * 24  journal        f64   replay begins here; 0 when the database kept no journal
 * 32  epoch          f64   of the tree: how many views were ever taken, and one
 * 40  groups         u32   count: of frames of this image that the tree has let go of
 * 44  snapshots      u32   count
 * 48  groups         each: birth f64 | death f64 | roots u32 | singles u32 | blob ids u32 each, roots first
 *     snapshots      each: root blob id u32 | name bytes u32 | epoch f64 | seq f64 | taken f64, ms since 1970 | name, UTF-8
 * ```
 *
 * A root was let go of with all below it, a single frame alone, as a view saw it. A crash closes all views, so these frames
 * are given back after it, but for those that a snapshot sees: birth and death say so, the epochs in which all frames of a
 * group were made and let go of; -1: the birth is to be read in each frame. Without the groups the frames would belong to
 * nobody.
 */
export interface EngineNote {
  readonly rootId: BlobId
  readonly seq: number
  readonly seqFloor: number
  readonly journalPosition: Lsn
  readonly epoch: number
  /** Ascending by epoch. */
  readonly snapshots: readonly SnapshotNote[]
  readonly unlinked: readonly KeptFrame[]
}

/** What is kept of a snapshot. */
export interface SnapshotNote extends ViewPlace {
  readonly name: string
  /** Milliseconds since 1970. */
  readonly takenMs: number
}

/** What a note says of the tree as it is now, and of its snapshots. */
export function noteOfTree(
  index: ArtIndex,
  snapshots: Snapshots,
): Pick<EngineNote, 'rootId' | 'epoch' | 'snapshots' | 'unlinked'> {
  return {
    rootId: index.rootId,
    epoch: index.epoch,
    snapshots: snapshots.notes(),
    unlinked: snapshots.framesToKeep(),
  }
}

const NOTE_VERSION = 4
const FIXED_BYTES = 48
const GROUP_BYTES = 24
const SNAPSHOT_BYTES = 32

/** Frames of one birth and one death. */
interface Group {
  readonly birth: number
  readonly death: number
  readonly roots: BlobId[]
  readonly singles: BlobId[]
}

function groupsOf(frames: readonly KeptFrame[]): Group[] {
  const groups: Group[] = []
  const byBirth = new Map<number, Map<number, Group>>()
  for (const { id, isSingle, birth, death } of frames) {
    let byDeath = byBirth.get(birth)
    if (byDeath === undefined) byBirth.set(birth, (byDeath = new Map<number, Group>()))
    let group = byDeath.get(death)
    if (group === undefined) {
      byDeath.set(death, (group = { birth, death, roots: [], singles: [] }))
      groups.push(group)
    }
    ;(isSingle ? group.singles : group.roots).push(id)
  }
  return groups
}

export function encodeNote(note: EngineNote): Uint8Array {
  const { snapshots, unlinked } = note
  const groups = groupsOf(unlinked)
  const names = snapshots.map(({ name }) => Buffer.from(name))
  const namesBytes = names.reduce((sum, name) => sum + name.length, 0)
  const bytes = new Uint8Array(
    FIXED_BYTES +
      groups.length * GROUP_BYTES +
      unlinked.length * 4 +
      snapshots.length * SNAPSHOT_BYTES +
      namesBytes,
  )
  const view = new DataView(bytes.buffer)
  view.setUint16(0, NOTE_VERSION, true)
  view.setUint32(4, note.rootId, true)
  view.setFloat64(8, note.seq, true)
  view.setFloat64(16, note.seqFloor, true)
  view.setFloat64(24, note.journalPosition, true)
  view.setFloat64(32, note.epoch, true)
  view.setUint32(40, groups.length, true)
  view.setUint32(44, snapshots.length, true)
  let at = FIXED_BYTES
  for (const { birth, death, roots, singles } of groups) {
    view.setFloat64(at, birth, true)
    view.setFloat64(at + 8, death, true)
    view.setUint32(at + 16, roots.length, true)
    view.setUint32(at + 20, singles.length, true)
    at += GROUP_BYTES
    for (const ids of [roots, singles])
      for (const id of ids) {
        view.setUint32(at, id, true)
        at += 4
      }
  }
  for (const [i, { rootId, epoch, seq, takenMs }] of snapshots.entries()) {
    view.setUint32(at, rootId, true)
    view.setUint32(at + 4, names[i].length, true)
    view.setFloat64(at + 8, epoch, true)
    view.setFloat64(at + 16, seq, true)
    view.setFloat64(at + 24, takenMs, true)
    bytes.set(names[i], at + SNAPSHOT_BYTES)
    at += SNAPSHOT_BYTES + names[i].length
  }
  return bytes
}

/** Throws `HOLT_VERSION` for a note of another version, `HOLT_CORRUPT` for one that cannot be right. */
export function decodeNote(bytes: Uint8Array): EngineNote {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const version = bytes.length < 2 ? 0 : view.getUint16(0, true)
  if (version !== NOTE_VERSION) {
    throw new HoltError(
      'HOLT_VERSION',
      `the store's note has version ${String(version)}; this release reads version ${String(NOTE_VERSION)}`,
    )
  }
  let at = 0
  /** The next part of the note, where it begins. */
  const take = (partBytes: number): number => {
    at += partBytes
    if (at > bytes.length) throw wrongLength(bytes.length)
    return at - partBytes
  }
  take(FIXED_BYTES)
  const unlinked: KeptFrame[] = []
  for (let left = view.getUint32(40, true); left > 0; left--) {
    const from = take(GROUP_BYTES)
    const birth = view.getFloat64(from, true)
    const death = view.getFloat64(from + 8, true)
    const roots = view.getUint32(from + 16, true)
    const frames = roots + view.getUint32(from + 20, true)
    const idsAt = take(frames * 4)
    for (let i = 0; i < frames; i++) {
      const id = view.getUint32(idsAt + i * 4, true) as BlobId
      unlinked.push({ id, isSingle: i >= roots, birth, death })
    }
  }
  const snapshots: SnapshotNote[] = []
  for (let left = view.getUint32(44, true); left > 0; left--) {
    const from = take(SNAPSHOT_BYTES)
    const nameBytes = view.getUint32(from + 4, true)
    const nameAt = take(nameBytes)
    snapshots.push({
      rootId: view.getUint32(from, true) as BlobId,
      epoch: view.getFloat64(from + 8, true),
      seq: view.getFloat64(from + 16, true),
      takenMs: view.getFloat64(from + 24, true),
      name: Buffer.from(bytes.subarray(nameAt, nameAt + nameBytes)).toString(),
    })
  }
  if (at !== bytes.length) throw wrongLength(bytes.length)
  const note: EngineNote = {
    rootId: view.getUint32(4, true) as BlobId,
    seq: view.getFloat64(8, true),
    seqFloor: view.getFloat64(16, true),
    journalPosition: view.getFloat64(24, true) as Lsn,
    epoch: view.getFloat64(32, true),
    snapshots,
    unlinked,
  }
  if (
    !isBlob(note.rootId) ||
    !(Number.isSafeInteger(note.epoch) && note.epoch >= 1) ||
    !Number.isSafeInteger(note.seq) ||
    !Number.isSafeInteger(note.seqFloor) ||
    !Number.isSafeInteger(note.journalPosition)
  ) {
    throw new HoltError('HOLT_CORRUPT', "the store's note names no root or an impossible position")
  }
  if (!areFramesPossible(note))
    throw new HoltError(
      'HOLT_CORRUPT',
      "the store's note names impossible frames that the tree has let go of",
    )
  if (!areSnapshotsPossible(note))
    throw new HoltError('HOLT_CORRUPT', "the store's note names impossible snapshots")
  return note
}

function areFramesPossible({ rootId, epoch, unlinked }: EngineNote): boolean {
  if (new Set(unlinked.map(({ id }) => id)).size !== unlinked.length) return false
  return unlinked.every(
    ({ id, isSingle, birth, death }) =>
      isBlob(id) &&
      id !== rootId &&
      Number.isSafeInteger(birth) &&
      Number.isSafeInteger(death) &&
      death >= 1 &&
      death <= epoch &&
      birth <= death &&
      birth >= (isSingle ? 0 : UNKNOWN_BIRTH),
  )
}

/** Each has a name of its own, and was taken behind the one before. */
function areSnapshotsPossible({ epoch, seq, snapshots }: EngineNote): boolean {
  if (new Set(snapshots.map(({ name }) => name)).size !== snapshots.length) return false
  return snapshots.every((snapshot, i) => {
    const before = i === 0 ? { epoch: 0, seq: 0 } : snapshots[i - 1]
    return (
      isBlob(snapshot.rootId) &&
      snapshot.name !== '' &&
      Number.isSafeInteger(snapshot.epoch) &&
      snapshot.epoch > before.epoch &&
      snapshot.epoch < epoch &&
      Number.isSafeInteger(snapshot.seq) &&
      snapshot.seq >= before.seq &&
      snapshot.seq <= seq &&
      Number.isFinite(snapshot.takenMs)
    )
  })
}

function isBlob(id: number): boolean {
  return id >= 1 && id <= MAX_BLOB_ID
}

function wrongLength(bytes: number): HoltError {
  return new HoltError(
    'HOLT_CORRUPT',
    `the store's note has ${String(bytes)} bytes, which is not the length that it says`,
  )
}
