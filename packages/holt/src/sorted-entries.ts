import { writeKeyBytes } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { EntryBatch } from './entry-batch.js'
import { SortMemory, type SortChunk } from './sort-memory.js'

/** What {@link SortedEntries.next} returns instead of an entry: it has done a piece of its work and wants to be called again. */
export const WORKING = -1
export const END = -2

export interface SortedEntriesOptions {
  /** Memory is taken in pieces of this size, but for the first ones: a power of two. */
  readonly chunkBytes?: number
  /** Entries that are looked at, or sorted, at a time: more hold the event loop for longer. */
  readonly stepEntries?: number
  readonly maxChunks?: number
}

const CHUNK_BYTES = 2 ** 26
const STEP_ENTRIES = 2 ** 14
const UNIT_BYTES = 8
/** Entries that are fewer are compared with each other. */
const FEW = 16
/** Parts that many entries are divided into at a time. */
const PARTS = 1_024
const HEADER_WORDS = 2
/** Whoever reads keys by words may look at two words behind one. */
const SPARE_WORDS = 2

// What is known of a range of entries.
/** The bytes of their keys that all of them share. */
const NEW = 0
/** Their digits stand beside them. */
const GATHERED = 1
/** They are sorted by their digits. */
const SORTED = 2
/** They are in order, each key once. */
const DONE = 3

/**
 * Sorts any number of entries by the bytes of their keys; of several with one key the last one added stays. All of them are
 * kept, one behind the other in the order they came, in pieces of memory:
 *
 * ```
 *   word 0   length of the key, bytes
 *   word 1   length of the value, bytes
 *   2        key, padded with zeros to whole words; value, padded to words; padded to 8 bytes
 * ```
 *
 * An entry's number is its place in units of 8 bytes, so that numbers ascend as entries come. Sorting begins when all
 * were added, and goes only as far as it must for the entry that comes next: a radix sort from the most significant bytes
 * on (P. McIlroy, K. Bostic, M. McIlroy, "Engineering radix sort", 1993) whose *digits* are the four bytes behind those
 * that all keys of a range share. Digit and number are one whole number of 64 bits, so that the engine's own sort of
 * numbers does most of the work; a range of very many entries is divided by its digits first. Entries with one digit are a
 * range of their own; few are compared with each other. So entries are looked at about as often as their keys have places
 * where they part, and those of one range lie in the processor's cache from the second time on.
 */
export class SortedEntries {
  readonly #chunks: SortChunk[] = []
  #chunk: SortChunk | undefined
  readonly #memory: SortMemory
  readonly #stepEntries: number
  readonly #maxChunks: number
  /** Shift and mask of a number: piece of memory, and unit there. */
  readonly #shift: number
  readonly #mask: number
  #count = 0
  /** Bytes that all keys begin with: known as they come, while they are at hand. */
  #common = Infinity

  /** Digit in the upper, number in the lower half. */
  #order = new BigUint64Array(0)
  /** The same memory: number at 2 i, digit at 2 i + 1. */
  #halves = new Uint32Array(0)

  // Ranges still to come, the next one last.
  readonly #from: number[] = []
  readonly #to: number[] = []
  readonly #depth: number[] = []
  readonly #state: number[] = []
  #isStarted = false
  #work: Generator<void, void, undefined> | undefined

  // What one look at a range finds: the least and greatest digit, how many keys end before the depth, the last one of each
  // length of these, the bytes that all share.
  #least = 0
  #greatest = 0
  #ended = 0
  readonly #endedAt = new Float64Array(5)
  #shared = 0

  constructor(options: SortedEntriesOptions = {}) {
    const { chunkBytes = CHUNK_BYTES, stepEntries = STEP_ENTRIES } = options
    this.#memory = new SortMemory(chunkBytes)
    this.#stepEntries = stepEntries
    this.#shift = Math.log2(chunkBytes / UNIT_BYTES)
    this.#mask = 2 ** this.#shift - 1
    this.#maxChunks = options.maxChunks ?? 2 ** (32 - this.#shift)
  }

  /**
   * Copies entries whose keys are encoded. Throws `HOLT_INVALID_ARGUMENT` when there are more than can be numbered (32 GiB);
   * some of them may have been taken then.
   */
  add(batch: EntryBatch): void {
    const { keyAt, keyLength, keyWords, valueAt, valueLength, valueWords } = batch
    for (let entry = 0; entry < batch.count; entry++) {
      const keyBytes = keyLength[entry]
      const valueBytes = valueLength[entry]
      const words = recordWords(keyBytes, valueBytes)
      let chunk = this.#chunk
      if (chunk === undefined || chunk.usedWords + words + SPARE_WORDS > chunk.words.length)
        chunk = this.#addChunk(words)
      const at = chunk.usedWords
      const to = chunk.words
      to[at] = keyBytes
      to[at + 1] = valueBytes
      writeKeyBytes(to, at + HEADER_WORDS, keyWords, keyAt[entry], keyBytes)
      const value = at + HEADER_WORDS + ((keyBytes + 3) >>> 2)
      const from = valueAt[entry]
      const valueEnd = (valueBytes + 3) >>> 2
      if (valueEnd <= 64) for (let i = 0; i < valueEnd; i++) to[value + i] = valueWords[from + i]
      else to.set(valueWords.subarray(from, from + valueEnd), value)
      chunk.usedWords = at + words
      const first = this.#chunks[0].words
      this.#common = sharedBytes(first, HEADER_WORDS, to, at + HEADER_WORDS, 0, this.#common)
      this.#count++
    }
  }

  /** Gives the memory back: no entry is looked at any more. */
  end(): void {
    this.#chunks.length = 0
    this.#chunk = undefined
    this.#memory.end()
  }

  #addChunk(words: number): SortChunk {
    if (this.#chunks.length === this.#maxChunks)
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `${String(this.#count)} entries in any order are more than can be sorted here; sort them and load them with sorted: true`,
      )
    const chunk = this.#memory.take(words + SPARE_WORDS)
    this.#chunks.push(chunk)
    this.#chunk = chunk
    return chunk
  }

  // ---- an entry, by its number ---------------------------------------------------------------------------------

  /** Words of the memory in which the entry lies. */
  wordsOf(entry: number): Uint32Array {
    return this.#chunks[entry >>> this.#shift].words
  }

  /** Where its key begins there, in words. */
  keyAt(entry: number): number {
    return (entry & this.#mask) * 2 + HEADER_WORDS
  }

  /** In bytes. */
  keyLength(entry: number): number {
    return this.wordsOf(entry)[this.keyAt(entry) - 2]
  }

  /** In bytes. */
  valueLength(entry: number): number {
    return this.wordsOf(entry)[this.keyAt(entry) - 1]
  }

  // ---- in order ------------------------------------------------------------------------------------------------

  /**
   * The number of the next entry, in order, each key once; {@link WORKING} when it is not known yet; {@link END} behind the last.
   * Nothing may be added any more.
   */
  next(): number {
    if (!this.#isStarted) {
      this.#isStarted = true
      this.#work = this.#start()
    }
    for (;;) {
      if (this.#work !== undefined) {
        if (this.#work.next().done !== true) return WORKING
        this.#work = undefined
      }
      const top = this.#from.length - 1
      if (top < 0) return END
      const from = this.#from[top]
      const to = this.#to[top]
      if (from === to) {
        this.#pop()
        continue
      }
      const halves = this.#halves
      const state = this.#state[top]
      if (state === DONE || from + 1 === to) {
        this.#from[top] = from + 1
        return halves[from * 2]
      }
      if (state === SORTED) {
        const digit = halves[from * 2 + 1]
        let end = from + 1
        while (end < to && halves[end * 2 + 1] === digit) end++
        this.#from[top] = end
        if (end === from + 1) return halves[from * 2]
        this.#push(from, end, this.#depth[top] + 4, NEW)
      } else if (to - from <= FEW) {
        this.#to[top] = this.#sortFew(from, to, this.#depth[top])
        this.#state[top] = DONE
      } else {
        const depth = this.#depth[top]
        this.#pop()
        this.#work = state === NEW ? this.#gatherAndSort(from, to, depth) : this.#sort(from, to, depth)
      }
    }
  }

  #push(from: number, to: number, depth: number, state: number): void {
    this.#from.push(from)
    this.#to.push(to)
    this.#depth.push(depth)
    this.#state.push(state)
  }

  #pop(): void {
    this.#from.pop()
    this.#to.pop()
    this.#depth.pop()
    this.#state.pop()
  }

  /** Numbers all entries, and sorts them as far as their first digits tell. */
  *#start(): Generator<void, void, undefined> {
    const count = this.#count
    if (count === 0) return
    this.#order = new BigUint64Array(count)
    this.#halves = new Uint32Array(this.#order.buffer)
    const halves = this.#halves
    const depth = this.#common
    const step = this.#stepEntries
    this.#beginLook(0)
    let i = 0
    for (const [number, { words, usedWords }] of this.#chunks.entries()) {
      const first = (number << this.#shift) >>> 0
      for (let at = 0; at < usedWords;) {
        const from = i
        for (const end = from + step; i < end && at < usedWords; i++) {
          halves[i * 2] = first + (at >>> 1)
          at += recordWords(words[at], words[at + 1])
        }
        this.#gather(from, i, depth)
        yield
      }
    }
    yield* this.#arrange(0, count, depth)
  }

  /** Puts digits beside the entries of a range and sorts it by them. */
  *#gatherAndSort(from: number, to: number, depth: number): Generator<void, void, undefined> {
    const step = this.#stepEntries
    for (;;) {
      if (this.#looksAlike(from, to, depth)) {
        this.#shared = Infinity
        for (let at = from + 1; at < to; at += step) {
          this.#share(from, at, Math.min(at + step, to), depth)
          if (at + step < to) yield
        }
        // A key that ends before the depth shares less.
        depth = Math.max(depth, this.#shared)
      }
      this.#beginLook(from)
      for (let at = from; at < to; at += step) {
        this.#gather(at, Math.min(at + step, to), depth)
        if (at + step < to) yield
      }
      if (this.#ended > from || this.#least < this.#greatest) break
      // All have the same digit, so they look alike, and share more bytes than they did.
    }
    yield* this.#arrange(from, to, depth)
  }

  /** Whether some keys of a range have the same digit: then it pays to find out what all of them share. */
  #looksAlike(from: number, to: number, depth: number): boolean {
    const halves = this.#halves
    const first = this.#digitOf(halves[from * 2], depth)
    return (
      first === this.#digitOf(halves[((from + to) >>> 1) * 2], depth) &&
      first === this.#digitOf(halves[to * 2 - 2], depth)
    )
  }

  /** Four bytes of a key, zeros behind its end; -1 for one that ends at the depth or before. */
  #digitOf(entry: number, depth: number): number {
    const { words, view } = this.#chunks[entry >>> this.#shift]
    const at = (entry & this.#mask) * 2
    const left = words[at] - depth
    if (left <= 0) return -1
    const digit = view.getUint32((at + HEADER_WORDS) * 4 + depth)
    return left < 4 ? (digit & (-1 << (32 - left * 8))) >>> 0 : digit
  }

  #beginLook(from: number): void {
    this.#ended = from
    this.#endedAt.fill(-1)
    this.#least = 0xffff_ffff
    this.#greatest = 0
  }

  /** Orders a range by the digits that were gathered; keys that ended come first. */
  *#arrange(from: number, to: number, depth: number): Generator<void, void, undefined> {
    const live = this.#ended
    const least = this.#least
    const greatest = this.#greatest
    const ended = this.#writeEnded(from)
    // What comes later is pushed first.
    if (live < to) {
      if (to - live > this.#stepEntries && least < greatest)
        yield* this.#divide(live, to, depth, least, greatest)
      else this.#push(live, to, depth, GATHERED)
    }
    if (ended > from) this.#push(from, ended, depth, DONE)
  }

  /** Digits of halves[from … to) at `depth`, but for keys that end there or before: these go to the front of their range. */
  #gather(from: number, to: number, depth: number): void {
    const halves = this.#halves
    const chunks = this.#chunks
    const shift = this.#shift
    const mask = this.#mask
    let least = this.#least
    let greatest = this.#greatest
    for (let i = from; i < to; i++) {
      const entry = halves[i * 2]
      const { words, view } = chunks[entry >>> shift]
      const at = (entry & mask) * 2
      const left = words[at] - depth
      if (left <= 0) {
        // The later of two with one key is the one with the greater number.
        if (entry > this.#endedAt[-left]) this.#endedAt[-left] = entry
        const front = this.#ended++
        halves[i * 2] = halves[front * 2]
        halves[i * 2 + 1] = halves[front * 2 + 1]
        continue
      }
      let digit = view.getUint32((at + HEADER_WORDS) * 4 + depth)
      if (left < 4) digit = (digit & (-1 << (32 - left * 8))) >>> 0
      halves[i * 2 + 1] = digit
      if (digit < least) least = digit
      if (digit > greatest) greatest = digit
    }
    this.#least = least
    this.#greatest = greatest
  }

  /** Keys that ended go to the front, the shorter ones first; returns where they end. There are no more lengths than a digit has bytes. */
  #writeEnded(from: number): number {
    let at = from
    for (let before = this.#endedAt.length - 1; before >= 0; before--) {
      const entry = this.#endedAt[before]
      if (entry >= 0) this.#halves[at++ * 2] = entry
    }
    return at
  }

  /** Lessens #shared to the bytes that the keys of halves[from … to) share with that of halves[first]. */
  #share(first: number, from: number, to: number, depth: number): void {
    const halves = this.#halves
    const one = this.wordsOf(halves[first * 2])
    const oneAt = this.keyAt(halves[first * 2])
    let shared = this.#shared
    for (let i = from; i < to; i++) {
      const other = halves[i * 2]
      shared = sharedBytes(one, oneAt, this.wordsOf(other), this.keyAt(other), depth, shared)
    }
    this.#shared = shared
  }

  /** Sorts a range whose digits are known. */
  *#sort(from: number, to: number, depth: number): Generator<void, void, undefined> {
    const step = this.#stepEntries
    if (to - from > step) {
      const halves = this.#halves
      let least = 0xffff_ffff
      let greatest = 0
      for (let i = from; i < to; i++) {
        const digit = halves[i * 2 + 1]
        if (digit < least) least = digit
        if (digit > greatest) greatest = digit
        if ((i - from) % step === step - 1) yield
      }
      if (least < greatest) {
        yield* this.#divide(from, to, depth, least, greatest)
        return
      }
    } else {
      // They often are alike where many were divided.
      if (this.#haveOneDigit(from, to)) {
        this.#push(from, to, depth + 4, NEW)
        return
      }
      this.#order.subarray(from, to).sort()
    }
    this.#push(from, to, depth, SORTED)
  }

  #haveOneDigit(from: number, to: number): boolean {
    const halves = this.#halves
    const digit = halves[from * 2 + 1]
    for (let i = from + 1; i < to; i++) if (halves[i * 2 + 1] !== digit) return false
    return true
  }

  /** Brings entries of near digits together, in ranges that ascend. */
  *#divide(
    from: number,
    to: number,
    depth: number,
    least: number,
    greatest: number,
  ): Generator<void, void, undefined> {
    const step = this.#stepEntries
    const halves = this.#halves
    const shift = Math.max(0, 32 - Math.clz32(greatest - least) - Math.log2(PARTS))
    const ends = new Uint32Array(PARTS)
    for (let i = from; i < to; i++) {
      ends[(halves[i * 2 + 1] - least) >>> shift]++
      if ((i - from) % step === step - 1) yield
    }
    const next = new Uint32Array(PARTS)
    for (let part = 0, at = 0; part < PARTS; part++) {
      next[part] = at
      at += ends[part]
      ends[part] = at
    }
    const divided = new BigUint64Array(to - from)
    const into = new Uint32Array(divided.buffer)
    for (let i = from; i < to; i++) {
      const digit = halves[i * 2 + 1]
      const at = next[(digit - least) >>> shift]++
      into[at * 2] = halves[i * 2]
      into[at * 2 + 1] = digit
      if ((i - from) % step === step - 1) yield
    }
    for (let at = 0; at < divided.length; at += 8 * step) {
      this.#order.set(divided.subarray(at, at + 8 * step), from + at)
      yield
    }
    for (let part = PARTS - 1; part >= 0; part--) {
      const begin = part === 0 ? 0 : ends[part - 1]
      if (begin < ends[part]) this.#push(from + begin, from + ends[part], depth, GATHERED)
    }
  }

  /** Insertion sort by whole keys; returns where it ends now, since of one key only the last entry stays. */
  #sortFew(from: number, to: number, depth: number): number {
    const halves = this.#halves
    let end = from
    for (let i = from; i < to; i++) {
      const entry = halves[i * 2]
      let place = end
      let order = 1
      while (place > from && (order = this.#compare(entry, halves[place * 2 - 2], depth)) < 0) place--
      if (place > from && order === 0) {
        if (entry > halves[place * 2 - 2]) halves[place * 2 - 2] = entry
        continue
      }
      for (let j = end; j > place; j--) halves[j * 2] = halves[j * 2 - 2]
      halves[place * 2] = entry
      end++
    }
    return end
  }

  /** By their keys, which share `depth` bytes, zeros behind the shorter one counted. */
  #compare(a: number, b: number, depth: number): number {
    const left = this.wordsOf(a)
    const right = this.wordsOf(b)
    let leftAt = this.keyAt(a)
    let rightAt = this.keyAt(b)
    const leftLength = left[leftAt - 2]
    const rightLength = right[rightAt - 2]
    const end = leftAt + ((Math.min(leftLength, rightLength) + 3) >>> 2)
    rightAt += depth >>> 2
    for (leftAt += depth >>> 2; leftAt < end; leftAt++, rightAt++) {
      const differing = left[leftAt] ^ right[rightAt]
      if (differing === 0) continue
      const shift = (31 - Math.clz32(differing & -differing)) & 0x18
      return ((left[leftAt] >>> shift) & 0xff) - ((right[rightAt] >>> shift) & 0xff)
    }
    return leftLength - rightLength
  }
}

/** Bytes that two keys share, `most` at most, when it is known that they share `depth`; less if one of them is shorter. */
function sharedBytes(
  left: Uint32Array,
  leftAt: number,
  right: Uint32Array,
  rightAt: number,
  depth: number,
  most: number,
): number {
  const shared = Math.min(most, left[leftAt - 2], right[rightAt - 2])
  for (let word = depth >>> 2; word * 4 < shared; word++) {
    const differing = left[leftAt + word] ^ right[rightAt + word]
    if (differing !== 0) return Math.min(shared, word * 4 + ((31 - Math.clz32(differing & -differing)) >>> 3))
  }
  return shared
}

/** Of an entry with such a key and value, in bytes. */
function recordWords(keyLength: number, valueLength: number): number {
  return (HEADER_WORDS + ((keyLength + 3) >>> 2) + ((valueLength + 3) >>> 2) + 1) & ~1
}
