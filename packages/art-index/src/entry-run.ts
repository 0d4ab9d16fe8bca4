/** Room behind the last key: keys are written by words. */
const SLACK_BYTES = 24

/**
 * Room for entries that a cursor reads in one go, see `Cursor.take`: a column for each property, the keys one behind
 * the other.
 *
 * ```
 * keys   | a / 1 . | j p g 0 | a / 2 . | j p g 0 |        each from a multiple of 4 on, zeros between them
 *          ^ starts[0]     ^ ends[0]
 * ```
 */
export class EntryRun {
  /** Entries it has room for. */
  readonly capacity: number
  /** Bytes that are left out at the front of each key: a multiple of 4. */
  readonly skippedBytes: number
  readonly keyBytes: Uint8Array
  readonly keyWords: Uint32Array
  readonly keyView: DataView
  readonly starts: Int32Array
  readonly ends: Int32Array
  readonly versions: Float64Array
  /** Where in {@link valueBytes} the value lies that was taken, and its length. Good until the next call of anybody. */
  readonly valueOffsets: Int32Array
  readonly valueLengths: Int32Array
  valueBytes: Uint8Array = new Uint8Array(0)
  /** Whether keys are taken too; if not, `starts`, `ends` and the keys' bytes say nothing. */
  withKeys = true
  /** Entries in it. */
  count = 0
  /** Where the next key begins. */
  keyEnd = 0
  /** Sum of the values' lengths. */
  valueSum = 0
  /** No entry is taken once so many bytes of keys, or of values, are there. */
  readonly fullKeyBytes: number
  readonly fullValueBytes: number

  /** `largestKeyBytes`: of a key without what is left out. */
  constructor(
    capacity: number,
    skippedBytes: number,
    largestKeyBytes: number,
    fullKeyBytes: number,
    fullValueBytes: number,
  ) {
    this.capacity = capacity
    this.skippedBytes = skippedBytes
    this.fullKeyBytes = fullKeyBytes
    this.fullValueBytes = fullValueBytes
    this.keyWords = new Uint32Array((fullKeyBytes + largestKeyBytes + SLACK_BYTES + 3) >>> 2)
    this.keyBytes = new Uint8Array(this.keyWords.buffer)
    this.keyView = new DataView(this.keyWords.buffer)
    this.starts = new Int32Array(capacity)
    this.ends = new Int32Array(capacity)
    this.versions = new Float64Array(capacity)
    this.valueOffsets = new Int32Array(capacity)
    this.valueLengths = new Int32Array(capacity)
  }

  clear(): void {
    this.count = 0
    this.keyEnd = 0
    this.valueSum = 0
  }

  get isFull(): boolean {
    return (
      this.count === this.capacity || this.keyEnd >= this.fullKeyBytes || this.valueSum >= this.fullValueBytes
    )
  }

  /** Adds an entry by its key's bytes as words; those behind its last byte do not matter. */
  addKey(words: Uint32Array, keyLength: number): void {
    const { keyWords, skippedBytes, count } = this
    const at = this.keyEnd
    const length = keyLength - skippedBytes
    let to = at >>> 2
    for (let word = skippedBytes >>> 2, left = length; left > 0; left -= 4) keyWords[to++] = words[word++]
    if ((length & 3) !== 0) keyWords[to - 1] &= (1 << ((length & 3) << 3)) - 1
    this.starts[count] = at
    this.ends[count] = at + length
    this.keyEnd = to << 2
    this.count = count + 1
  }
}
