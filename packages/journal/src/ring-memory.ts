import { HoltError } from '@holt/errors'

/** How large a flush-buffer ring is. */
export interface RingShape {
  /** A power of two, 2 … 64. */
  readonly buffers: number
  /** A multiple of 64, 64 … 8 MiB. */
  readonly bufferBytes: number
  /** How many may be attached at once, 1 … 255. */
  readonly appenders: number
  /** Results that may wait to be read by one appender; a power of two. */
  readonly results: number
  /** The largest record, in bytes. */
  readonly maxRecordBytes: number
}

/** What a record's place in a buffer is counted in. */
export const UNIT_BYTES = 8

// ---- header --------------------------------------------------------------------------------------------------------

const MAGIC = 0x686c_7231
const HEADER_WORDS = 32
const AT_MAGIC = 0
const AT_BUFFERS = 1
const AT_BUFFER_BYTES = 2
const AT_APPENDERS = 3
const AT_RESULTS = 4
const AT_MAX_RECORD_BYTES = 5
/** Generation of the buffer that records go to now; negative once the ring is shut. */
export const CURRENT = 6
/** 0 while the owner sleeps, or is about to: who has something for it makes that 1 and notifies. */
export const BELL = 7
/** 1 once the owner has told all results that there will be. */
export const ENDED = 8
/** Counts what {@link writeMarks} wrote: its lowest bit says which of the two copies is the newest. */
const MARKS = 9
/** Two copies of four words: segment and offset of the store's beginning, and of what is stable. */
const MARK_COPIES = 16
const MARK_WORDS = 4

// ---- an appender ---------------------------------------------------------------------------------------------------

const APPENDER_WORDS = 16
/** 0: nobody's. Otherwise the number of the thread that holds it, + 1. */
export const HOLDER = 0
/** Index + 1 of the buffer that the appender is in or is about to enter; 0: none. */
export const INSIDE = 1
/** Raised whenever the owner has something for the appender, which sleeps on it. */
export const EVENTS = 2
/** How many results the owner has written. */
export const RESULTS = 3
/** 1: the appender waits for a free buffer. */
export const WANTS_BUFFER = 4
export const SYNCS_WANTED = 5
export const SYNCS_DONE = 6
/** Of the last sync: 0, or a failure as in a result. */
export const SYNC_FAILURE = 7

/** State words lie a cache line apart. */
const STATE_STRIDE_WORDS = 16

/**
 * The shared memory of a flush-buffer ring. All words are 32 bits, in the order of the machine, since it never leaves it.
 *
 * ```
 * header 32 words │ state words, one in 16 │ appenders: 16 words + 2 a result │ commit words: one a unit │ buffers
 * ```
 *
 * A **commit word** belongs to each 8-byte unit of each buffer. That of a record's first unit is written last of all,
 * when the record's bytes are there; the others stay 0. They lie apart from the bytes, so no byte of a record can ever be
 * taken for one: where a thread ended before it wrote its own, the next record is the next word that is not 0.
 *
 * ```
 * commit word  31         24 23                    0
 *             ┌─────────────┬───────────────────────┐
 *             │ appender + 1│ length in bytes       │
 *             └─────────────┴───────────────────────┘
 * ```
 *
 * A **result** is two words: segment number and offset of the location, or a failure (negative) and 0.
 */
export class RingMemory {
  readonly shared: SharedArrayBuffer
  readonly shape: RingShape
  readonly words: Int32Array
  readonly bytes: Uint8Array
  readonly unitsPerBuffer: number
  readonly #statesAt: number
  readonly #appendersAt: number
  readonly #appenderWords: number
  readonly #commitsAt: number
  readonly #dataAtBytes: number

  /** Lays a ring out, or, without a shape, joins one that was. Throws `HOLT_INVALID_ARGUMENT` for memory that is none. */
  constructor(shared: SharedArrayBuffer, shape = shapeOf(shared)) {
    const { buffers, bufferBytes, appenders, results } = shape
    this.shared = shared
    this.shape = shape
    this.words = new Int32Array(shared)
    this.bytes = new Uint8Array(shared)
    this.unitsPerBuffer = bufferBytes / UNIT_BYTES
    this.#statesAt = HEADER_WORDS
    this.#appendersAt = this.#statesAt + buffers * STATE_STRIDE_WORDS
    this.#appenderWords = APPENDER_WORDS + 2 * results
    this.#commitsAt = this.#appendersAt + appenders * this.#appenderWords
    this.#dataAtBytes = Math.ceil((this.#commitsAt + buffers * this.unitsPerBuffer) / 16) * 64
  }

  static make(shape: RingShape): RingMemory {
    const { buffers, bufferBytes, appenders, results, maxRecordBytes } = shape
    const units = (buffers * bufferBytes) / UNIT_BYTES
    const words =
      HEADER_WORDS + buffers * STATE_STRIDE_WORDS + appenders * (APPENDER_WORDS + 2 * results) + units
    const shared = new SharedArrayBuffer(Math.ceil(words / 16) * 64 + buffers * bufferBytes)
    const memory = new RingMemory(shared, shape)
    memory.words.set([MAGIC, buffers, bufferBytes, appenders, results, maxRecordBytes])
    return memory
  }

  // ---- where things lie, as indices of `words` unless the name says bytes ------------------------------------------

  stateAt(buffer: number): number {
    return this.#statesAt + buffer * STATE_STRIDE_WORDS
  }

  /** A word of an appender, such as {@link INSIDE}. */
  appenderAt(appender: number, word: number): number {
    return this.#appendersAt + appender * this.#appenderWords + word
  }

  resultAt(appender: number, count: number): number {
    return this.appenderAt(appender, APPENDER_WORDS) + 2 * (count & (this.shape.results - 1))
  }

  commitAt(buffer: number, unit: number): number {
    return this.#commitsAt + buffer * this.unitsPerBuffer + unit
  }

  dataAtBytes(buffer: number, unit: number): number {
    return this.#dataAtBytes + buffer * this.shape.bufferBytes + unit * UNIT_BYTES
  }

  // ---- marks -------------------------------------------------------------------------------------------------------

  /**
   * Tells where the store begins and up to where it is stable. Readers never wait for it: it writes the older of two copies,
   * then says that this one is the newest.
   */
  writeMarks(marks: readonly [number, number, number, number]): void {
    const { words } = this
    const next = Atomics.load(words, MARKS) + 1
    const at = MARK_COPIES + (next & 1) * MARK_WORDS
    for (const [i, mark] of marks.entries()) Atomics.store(words, at + i, mark)
    Atomics.store(words, MARKS, next)
  }

  /** What was told last. Reads again if the owner has meanwhile gone on. */
  readMarks(): [number, number, number, number] {
    const { words } = this
    for (;;) {
      const count = Atomics.load(words, MARKS)
      const at = MARK_COPIES + (count & 1) * MARK_WORDS
      const marks: [number, number, number, number] = [
        Atomics.load(words, at),
        Atomics.load(words, at + 1),
        Atomics.load(words, at + 2),
        Atomics.load(words, at + 3),
      ]
      if (Atomics.load(words, MARKS) === count) return marks
    }
  }
}

function shapeOf(shared: unknown): RingShape {
  const words =
    shared instanceof SharedArrayBuffer && shared.byteLength >= HEADER_WORDS * 4
      ? new Int32Array(shared, 0, HEADER_WORDS)
      : undefined
  if (words?.[AT_MAGIC] !== MAGIC)
    throw new HoltError('HOLT_INVALID_ARGUMENT', 'this memory is no flush-buffer ring')
  return {
    buffers: words[AT_BUFFERS],
    bufferBytes: words[AT_BUFFER_BYTES],
    appenders: words[AT_APPENDERS],
    results: words[AT_RESULTS],
    maxRecordBytes: words[AT_MAX_RECORD_BYTES],
  }
}
