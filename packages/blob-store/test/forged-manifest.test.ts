/**
 * Manifests whose checksums hold and whose contents cannot be: no crash makes them, a writer gone wrong might. Each is
 * refused with the place, and none is taken for something else.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blobId, type BlobId, FRAME_BYTES, MAX_BLOB_ID } from '@holt/blob-buf-pool'
import { FsIo } from '@holt/uring-native'
import { crc32c } from '@holt/uring-native/crc32c'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAX_DISK_SLOTS } from '../src/disk-slots.js'
import {
  BODY_FIXED_BYTES,
  encodeRecord,
  encodeSnapshot,
  HEADER,
  type ManifestChange,
  SECTOR,
  SECTOR_BYTES,
  SECTOR_HEADER_BYTES,
  viewOf,
  wholeSectors,
} from '../src/manifest-format.js'
import { LOG_ROOM_BYTES, MANIFEST_NAME, ManifestLog } from '../src/manifest-log.js'
import { readManifest } from '../src/manifest-reader.js'

const NOTE = Uint8Array.of(1, 2, 3)
const NUMBER = 40

interface Sheet {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Where the first record goes. */
  readonly end: number
  readonly seed: number
}

function sheet(diskSlot = 2, id: number = blobId(9)): Sheet {
  const { bytes, announcedBytes, seed } = encodeSnapshot(
    { mappings: [[id as BlobId, { diskSlot, pages: 17, headerCrc: 5 }]], note: NOTE },
    {
      storeId: new Uint8Array(16).fill(7),
      recordNumber: NUMBER,
      frameBytes: FRAME_BYTES,
      roomBytes: LOG_ROOM_BYTES,
    },
  )
  const file = new Uint8Array(announcedBytes)
  file.set(bytes)
  return { bytes: file, view: viewOf(file), end: bytes.length, seed }
}

/** The header's checksum, and the body's, made to hold. */
function reseal({ bytes, view }: Sheet): void {
  const bodyBytes = view.getUint32(HEADER.bodyBytes, true)
  if (SECTOR_BYTES + bodyBytes <= bytes.length)
    view.setUint32(HEADER.bodyCrc, crc32c(bytes, SECTOR_BYTES, wholeSectors(bodyBytes), 0), true)
  view.setUint32(HEADER.crc, crc32c(bytes, 0, HEADER.crc, 0), true)
}

function change(noteBytes: number, fill: number): ManifestChange {
  return { mappings: [], removals: [], note: new Uint8Array(noteBytes).fill(fill) }
}

/** A record of one sector whose payload was edited, its checksums made to hold; `keepRecordCrc` leaves that of the payload. */
function forgedRecord(
  { bytes, seed }: Sheet,
  what: ManifestChange,
  edit: (payload: DataView) => void,
  keepRecordCrc = false,
): Uint8Array {
  const record = encodeRecord(what, NUMBER + 1, bytes.length, seed)
  expect(record).toHaveLength(2 * SECTOR_BYTES)
  for (const at of [0, SECTOR_BYTES]) {
    const sector = record.subarray(at, at + SECTOR_BYTES)
    const view = viewOf(sector)
    const payloadBytes = view.getUint32(SECTOR.payloadBytes, true)
    const payload = sector.subarray(SECTOR_HEADER_BYTES, SECTOR_HEADER_BYTES + payloadBytes)
    edit(viewOf(payload))
    if (!keepRecordCrc) view.setUint32(SECTOR.recordCrc, crc32c(payload, 0, payload.length, seed), true)
    view.setUint32(SECTOR.crc, crc32c(sector, 4, SECTOR_BYTES - 4, seed), true)
  }
  return record
}

function refusal(bytes: Uint8Array): string {
  try {
    readManifest(bytes, 'manifest')
  } catch (error) {
    expect(error).toMatchObject({ code: 'HOLT_CORRUPT' })
    return (error as Error).message
  }
  return 'it was read'
}

describe('a snapshot whose checksums hold', () => {
  it.each<[string, (view: DataView) => void, string]>([
    [
      'longer than the file',
      (view) => {
        view.setUint32(HEADER.bodyBytes, 10 * LOG_ROOM_BYTES, true)
      },
      'at 0: the snapshot is longer than the file',
    ],
    [
      'of no sectors announced',
      (view) => {
        view.setFloat64(HEADER.announcedSize, NaN, true)
      },
      'at 0: an impossible file size, NaN',
    ],
    [
      'of half a sector announced',
      (view) => {
        view.setFloat64(HEADER.announcedSize, 1_280, true)
      },
      'at 0: an impossible file size, 1280',
    ],
    [
      'of a negative size announced',
      (view) => {
        view.setFloat64(HEADER.announcedSize, -512, true)
      },
      'at 0: an impossible file size, -512',
    ],
    [
      'without room for its counts',
      (view) => {
        view.setUint32(HEADER.bodyBytes, BODY_FIXED_BYTES - 1, true)
      },
      'at 512: the snapshot is too short',
    ],
    [
      'with more mappings than it has room for',
      (view) => {
        view.setUint32(SECTOR_BYTES, 2, true)
      },
      'at 512: the lengths in the snapshot do not add up',
    ],
    [
      'with a longer note than it has room for',
      (view) => {
        view.setUint32(SECTOR_BYTES + 4, 4, true)
      },
      'at 512: the lengths in the snapshot do not add up',
    ],
  ])('%s is corruption', (_what, edit, message) => {
    const forged = sheet()
    edit(forged.view)
    reseal(forged)
    expect(refusal(forged.bytes)).toContain(message)
  })

  it.each([
    [0, 2],
    [MAX_BLOB_ID + 1, 2],
    [9, MAX_DISK_SLOTS],
  ])('that names blob %i in disk slot %i is corruption', (id, diskSlot) => {
    expect(refusal(sheet(diskSlot, id).bytes)).toContain(`at 512: blob ${String(id)} in disk slot`)
  })

  it('with the largest blob and slot there are is read', () => {
    expect(readManifest(sheet(MAX_DISK_SLOTS - 1, MAX_BLOB_ID).bytes, 'manifest').mappings.size).toBe(1)
  })
})

describe('a record whose checksums hold', () => {
  it.each<[string, (payload: DataView) => void, string]>([
    [
      'with a length that does not add up',
      (payload) => {
        payload.setUint32(16, 9, true)
      },
      'the lengths in a record do not add up',
    ],
    [
      'that announces less than there was',
      (payload) => {
        payload.setFloat64(0, 4_096, true)
      },
      'an impossible file size, 4096',
    ],
    [
      'that announces more than there is',
      (payload) => {
        payload.setFloat64(0, 2 ** 30, true)
      },
      'it was cut short',
    ],
  ])('%s is corruption', (_what, edit, message) => {
    const forged = sheet()
    forged.bytes.set(forgedRecord(forged, change(8, 1), edit), forged.end)
    expect(refusal(forged.bytes)).toContain(message)
  })

  it('in each sector, and not as a whole, does not count', () => {
    const forged = sheet()
    const edit = (payload: DataView): void => {
      payload.setUint8(24, 99)
    }
    forged.bytes.set(forgedRecord(forged, change(8, 1), edit, true), forged.end)
    expect(readManifest(forged.bytes, 'manifest')).toMatchObject({ recordNumber: NUMBER, note: NOTE })
  })

  it('behind a hole is corruption', () => {
    const forged = sheet()
    const record = encodeRecord(change(8, 1), NUMBER + 1, forged.bytes.length, forged.seed)
    forged.bytes.set(record, forged.end + 4 * SECTOR_BYTES)
    expect(refusal(forged.bytes)).toContain(`record ${String(NUMBER + 1)} is missing or damaged`)
  })

  it('of which another one is there too, whole like itself, is corruption', () => {
    const forged = sheet()
    const short = encodeRecord(change(8, 1), NUMBER + 1, forged.bytes.length, forged.seed)
    const long = encodeRecord(change(600, 2), NUMBER + 1, forged.bytes.length, forged.seed)
    expect([short.length, long.length]).toEqual([2 * SECTOR_BYTES, 4 * SECTOR_BYTES])
    // Of each the second copy, where that belongs: one sector behind the start, and two.
    forged.bytes.set(short.subarray(SECTOR_BYTES), forged.end + SECTOR_BYTES)
    forged.bytes.set(long.subarray(2 * SECTOR_BYTES), forged.end + 2 * SECTOR_BYTES)
    expect(refusal(forged.bytes)).toContain(`two different records of number ${String(NUMBER + 1)}`)
  })
})

describe('the log of a manifest', () => {
  const io = FsIo.create()
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'holt-manifest-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true })
  })

  it('takes no change before there is a snapshot', async () => {
    const log = ManifestLog.fresh(io, directory)
    await expect(log.commit(change(1, 1), () => ({ mappings: [], note: NOTE }))).rejects.toMatchObject({
      code: 'HOLT_INTERNAL',
      message: 'a commit to a manifest that is absent',
    })
  })

  it('cuts off what a crash left behind the announced size before it announces more', async () => {
    const log = ManifestLog.fresh(io, directory)
    await log.replace({ mappings: [], note: NOTE })
    const before = log.sizeBytes
    const path = join(directory, MANIFEST_NAME)
    const file = await io.open(path, { access: 'readwrite' })
    await io.write(file, before, new Uint8Array(3 * LOG_ROOM_BYTES).fill(0xaa))
    await io.close(file)
    await log.commit(change(4, 5), () => ({ mappings: [], note: undefined }))
    expect(log.sizeBytes).toBe(before + LOG_ROOM_BYTES)
    await log.close()
    const found = readFileSync(path)
    expect(found).toHaveLength(log.sizeBytes)
    expect(found.subarray(before).every((byte) => byte === 0)).toBe(true)
    expect(readManifest(found, path).note).toEqual(new Uint8Array(4).fill(5))
  })
})
