/**
 * What `lstat` says of a file, in 40 bytes, little-endian:
 *
 *   0      4      8      12     16              24              32              40
 *   ├──────┼──────┼──────┼──────┼───────────────┼───────────────┼───────────────┤
 *   │ mode │ uid  │ gid  │ nlink│ size (f64)    │ mtimeMs (f64) │ inode (f64)   │
 *   └──────┴──────┴──────┴──────┴───────────────┴───────────────┴───────────────┘
 *
 * A float holds every whole number up to 2^53 exactly, which is more than any file's size.
 */
export interface StatRecord {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly linkCount: number
  readonly sizeBytes: number
  readonly modifiedMs: number
  readonly inode: number
}

export const STAT_RECORD_BYTES = 40

/** What of `fs.Stats` a record is made of. */
export interface StatSource {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  readonly size: number
  readonly mtimeMs: number
  readonly ino: number
}

/** Writes the record of one file into `target` at `offsetBytes`; {@link STAT_RECORD_BYTES} bytes. */
export function packStat(stat: StatSource, target: DataView, offsetBytes: number): void {
  target.setUint32(offsetBytes, stat.mode, true)
  target.setUint32(offsetBytes + 4, stat.uid, true)
  target.setUint32(offsetBytes + 8, stat.gid, true)
  target.setUint32(offsetBytes + 12, stat.nlink, true)
  target.setFloat64(offsetBytes + 16, stat.size, true)
  target.setFloat64(offsetBytes + 24, stat.mtimeMs, true)
  target.setFloat64(offsetBytes + 32, stat.ino, true)
}

/** Reads a record. Throws a `RangeError` if the bytes are not one record long. */
export function unpackStat(bytes: Uint8Array): StatRecord {
  if (bytes.byteLength !== STAT_RECORD_BYTES) {
    throw new RangeError(
      `a stat record has ${String(STAT_RECORD_BYTES)} bytes, not ${String(bytes.byteLength)}`,
    )
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    mode: view.getUint32(0, true),
    uid: view.getUint32(4, true),
    gid: view.getUint32(8, true),
    linkCount: view.getUint32(12, true),
    sizeBytes: view.getFloat64(16, true),
    modifiedMs: view.getFloat64(24, true),
    inode: view.getFloat64(32, true),
  }
}

/** The size alone, without making an object of the rest. */
export function sizeOfRecord(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(16, true)
}
