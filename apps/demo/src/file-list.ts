import { STAT_RECORD_BYTES, type StatSource, packStat } from './stat-record.js'

const RECORDS_PER_CHUNK = 8192

/**
 * The files a walk found, in memory, so that indexing them can be timed without the walk. A path is bytes, since the file
 * systems of Unix promise no encoding, and has no leading slash.
 */
export class FileList {
  readonly #paths: Buffer[] = []
  readonly #chunks: Buffer[] = []

  get count(): number {
    return this.#paths.length
  }

  add(path: Buffer, stat: StatSource): void {
    const indexInChunk = this.#paths.length % RECORDS_PER_CHUNK
    if (indexInChunk === 0) this.#chunks.push(Buffer.alloc(RECORDS_PER_CHUNK * STAT_RECORD_BYTES))
    const chunk = this.#chunks[this.#chunks.length - 1]
    packStat(
      stat,
      new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength),
      indexInChunk * STAT_RECORD_BYTES,
    )
    this.#paths.push(path)
  }

  path(index: number): Buffer {
    return this.#paths[index]
  }

  /** The packed stat of a file: a view, not a copy. */
  record(index: number): Buffer {
    const chunk = this.#chunks[Math.floor(index / RECORDS_PER_CHUNK)]
    const startBytes = (index % RECORDS_PER_CHUNK) * STAT_RECORD_BYTES
    return chunk.subarray(startBytes, startBytes + STAT_RECORD_BYTES)
  }

  /** All of it as bytes, for another process: each path with its length before it, then its record. */
  serialize(): Buffer {
    const parts: Buffer[] = []
    for (let index = 0; index < this.count; index++) {
      const length = Buffer.alloc(4)
      length.writeUInt32LE(this.path(index).byteLength)
      parts.push(length, this.path(index), this.record(index))
    }
    return Buffer.concat(parts)
  }

  static deserialize(bytes: Buffer): FileList {
    const list = new FileList()
    let offsetBytes = 0
    while (offsetBytes < bytes.byteLength) {
      const pathStart = offsetBytes + 4
      const pathEnd = pathStart + bytes.readUInt32LE(offsetBytes)
      offsetBytes = pathEnd + STAT_RECORD_BYTES
      list.#addPacked(bytes.subarray(pathStart, pathEnd), bytes.subarray(pathEnd, offsetBytes))
    }
    return list
  }

  #addPacked(path: Buffer, record: Buffer): void {
    const indexInChunk = this.#paths.length % RECORDS_PER_CHUNK
    if (indexInChunk === 0) this.#chunks.push(Buffer.alloc(RECORDS_PER_CHUNK * STAT_RECORD_BYTES))
    record.copy(this.#chunks[this.#chunks.length - 1], indexInChunk * STAT_RECORD_BYTES)
    this.#paths.push(path)
  }
}
