import {
  createSealedCopy,
  MOST_STAGED_BYTES,
  SEALED_COPY_SOURCES,
  type SealedCopy,
  STAGED_AT,
} from '@holt/uring-native'
import { RECORD_HEADER_BYTES, recordMemory, type RecordMemory, stageRecord, writeHead } from './record.js'

/**
 * Writes records to a mapped segment by the addon, which copies a record from where its parts lie and computes both CRCs on the
 * way: short ones that were put together in memory of its own, and such as consist of a word and two pieces of other
 * memory. In place, every byte would be written, and read again for the CRCs, in lines that no cache holds yet.
 */
export class SealedRecords {
  /** Where short records are put together. */
  readonly memory: RecordMemory
  readonly bodyOffset = STAGED_AT + RECORD_HEADER_BYTES

  readonly #copy: SealedCopy
  readonly #seal: () => void
  readonly #sources: Uint32Array[] = []
  #nextSource = 0

  private constructor(copy: SealedCopy) {
    this.#copy = copy
    this.#seal = copy.copy
    this.memory = recordMemory(new Uint8Array(copy.staging))
  }

  /** `undefined` where there is no addon, or the memory is no mapping of its. */
  static into(target: Uint8Array, headerSalt: number, bodySalt: number): SealedRecords | undefined {
    const copy = createSealedCopy()
    return copy?.aim(target, headerSalt, bodySalt) === true ? new SealedRecords(copy) : undefined
  }

  /** Records go there from now on: to another mapping of the same Io. */
  goOn(target: Uint8Array, headerSalt: number, bodySalt: number): void {
    this.#copy.aim(target, headerSalt, bodySalt)
  }

  letGo(): void {
    this.#copy.letGo()
  }

  /** Begins a record of at most {@link MOST_STAGED_BYTES}; its body is to be written at {@link bodyOffset}. */
  stage(
    at: number,
    totalBytes: number,
    type: number,
    bodyBytes: number,
    seq: number,
    markSegment: number,
    markOffset: number,
  ): boolean {
    if (totalBytes > MOST_STAGED_BYTES) return false
    const { words } = this.memory
    words[0] = at
    words[1] = totalBytes
    words[2] = totalBytes - RECORD_HEADER_BYTES - 4
    words[5] = 0
    words[8] = 0
    stageRecord(this.memory, STAGED_AT, type, bodyBytes, seq, markSegment, markOffset)
    return true
  }

  /** Ends it. */
  seal(): void {
    this.#seal()
  }

  /**
   * Writes a record whose body is a word and two pieces of memory, as `JournalContract.append` says; false if their memory cannot
   * be held.
   */
  write(
    at: number,
    totalBytes: number,
    type: number,
    bodyBytes: number,
    seq: number,
    markSegment: number,
    markOffset: number,
    first: number,
    a: Uint32Array,
    aAt: number,
    aBytes: number,
    b: Uint32Array,
    bAt: number,
    bBytes: number,
  ): boolean {
    const sources = this.#sources
    let aSource = 0
    if (sources[0] !== a) aSource = this.#sourceOf(a, -1)
    let bSource = 1
    if (sources[1] !== b) bSource = this.#sourceOf(b, aSource)
    if (aSource < 0 || bSource < 0) return false
    const { memory } = this
    const { words } = memory
    words[0] = at
    words[1] = totalBytes
    words[2] = 4
    words[3] = aSource
    words[4] = aAt << 2
    words[5] = aBytes
    words[6] = bSource
    words[7] = bAt << 2
    words[8] = bBytes
    writeHead(memory, STAGED_AT, type, bodyBytes, seq, markSegment, markOffset)
    words[(STAGED_AT + RECORD_HEADER_BYTES) >>> 2] = first
    this.#seal()
    return true
  }

  /** The number under which the addon knows that memory, or -1; no other memory loses the number `kept` for it. */
  #sourceOf(words: Uint32Array, kept: number): number {
    const known = this.#sources.indexOf(words)
    if (known >= 0) return known
    let number = this.#nextSource
    if (number === kept) number = (number + 1) % SEALED_COPY_SOURCES
    if (!this.#copy.setSource(number, words)) return -1
    this.#sources[number] = words
    this.#nextSource = (number + 1) % SEALED_COPY_SOURCES
    return number
  }
}
