import { BELL, CURRENT, HOLDER, INSIDE, type RingMemory, UNIT_BYTES } from './ring-memory.js'

/**
 * The state of a flush buffer is one word, changed by single compare-exchanges only (after LLAMA: Levandoski, Lomet,
 * Sengupta, VLDB 2013).
 *
 * ```
 *  31      30       29            22 21                          0
 * ┌────────┬────────┬───────────────┬─────────────────────────────┐
 * │ sealed │flushing│ writers inside│ write offset in 8-byte units│
 * └────────┴────────┴───────────────┴─────────────────────────────┘
 *   0        0        open: records may be reserved
 *   1        0        sealed: nobody enters any more; the last writer out hands it over
 *   1        1        handed over to the owner, no writer inside; the offset is where its records end
 *   0        1        free: bits 29 … 0 are the generation that it will be opened as
 * ```
 *
 * Buffers are used in turn. The *generation* counts them, modulo 2^30: generation g is buffer g modulo their number. `CURRENT`
 * names the one that records go to. A free buffer names the generation it waits for, so that a thread that was asleep for
 * long opens no buffer before its time.
 *
 * Offset and writers change together, and only if the record fits into an open buffer: so ranges never overlap, there is no
 * failed reservation that would have to be taken back, and the fields cannot overflow, whoever tries how often. (Adding
 * without a look, as LLAMA does, would save a retry when two threads meet, and let each who does not fit move the offset.)
 * An appender is inside at most once, and there are at most as many as the field can count.
 */
export const SEALED = -0x8000_0000
export const FLUSHING = 0x4000_0000
export const STATE_BITS = SEALED | FLUSHING
export const HANDED_OVER = SEALED | FLUSHING
export const WRITER = 0x40_0000
export const WRITERS = 0x3fc0_0000
export const OFFSET = 0x3f_ffff
export const GENERATIONS = 0x3fff_ffff

/** The word of a free buffer. */
export function freeWord(generation: number): number {
  return FLUSHING | generation
}

/** The word, sealed; handed over with it if nobody is inside. */
export function sealedWord(word: number): number {
  return (word & WRITERS) === 0 ? word | HANDED_OVER : word | SEALED
}

export function nextGeneration(generation: number, by = 1): number {
  return (generation + by) & GENERATIONS
}

/** Wakes the owner if it sleeps. */
export function ringBell(words: Int32Array): void {
  if (Atomics.load(words, BELL) !== 0) return
  if (Atomics.compareExchange(words, BELL, 0, 1) === 0) Atomics.notify(words, BELL)
}

/** Called with each record of a buffer; the bytes are those of the buffer. */
export type RecordVisitor = (appender: number, bytes: Uint8Array) => void

// What the owner knows.
/** The generation to be taken next. */
const TAKING = 0
/** 1 once the ring was shut. */
const IS_SHUT = 1
/** The last generation there was, then. */
const LAST = 2
export const OWNER_REGISTERS = 3

/** The ring as its owner sees it: takes buffers that were handed over, in order, and gives them back. */
export class FlushRing {
  readonly memory: RingMemory
  readonly #words: Int32Array
  readonly #mask: number
  readonly #registers: Int32Array

  /** Takes fresh memory into use. `registers` holds what it knows between calls. */
  constructor(memory: RingMemory, registers = new Int32Array(OWNER_REGISTERS)) {
    this.memory = memory
    this.#words = memory.words
    this.#mask = memory.shape.buffers - 1
    this.#registers = registers
    for (let buffer = 1; buffer <= this.#mask; buffer++)
      Atomics.store(this.#words, memory.stateAt(buffer), freeWord(buffer))
  }

  /** The generation that records go to now, or the last one there was. */
  get current(): number {
    return this.#isShut ? this.#registers[LAST] : Atomics.load(this.#words, CURRENT)
  }

  get #isShut(): boolean {
    return this.#registers[IS_SHUT] !== 0
  }

  get #taking(): number {
    return this.#registers[TAKING]
  }

  /** Whether everything up to a generation was taken. */
  hasTaken(generation: number): boolean {
    const ahead = (this.#taking - generation) & GENERATIONS
    return ahead > 0 && ahead < GENERATIONS / 2
  }

  /** Whether everything before that generation was taken, and there is nothing in it yet. */
  isEmptyAt(generation: number): boolean {
    if (this.#taking !== generation) return false
    const word = Atomics.load(this.#words, this.memory.stateAt(generation & this.#mask))
    return word === freeWord(generation) || word === 0
  }

  /** Whether the ring was shut, and all that was in it taken. */
  get isEmptied(): boolean {
    return this.#isShut && this.hasTaken(this.#registers[LAST])
  }

  /** Whether the buffer to be taken next was handed over. */
  get hasNext(): boolean {
    if (this.isEmptied) return false
    const word = Atomics.load(this.#words, this.memory.stateAt(this.#taking & this.#mask))
    return (word & STATE_BITS) === HANDED_OVER
  }

  /** Hands out the complete records of the next buffer, in the order of their places, and skips holes. */
  visitNext(visit: RecordVisitor): void {
    const { memory } = this
    const buffer = this.#taking & this.#mask
    const units = Atomics.load(this.#words, memory.stateAt(buffer)) & OFFSET
    const commits = memory.commitAt(buffer, 0)
    for (let unit = 0; unit < units;) {
      const commit = Atomics.load(this.#words, commits + unit)
      if (commit === 0) {
        unit++
        continue
      }
      const lengthBytes = commit & 0xff_ffff
      const at = memory.dataAtBytes(buffer, unit)
      visit((commit >>> 24) - 1, memory.bytes.subarray(at, at + lengthBytes))
      unit += unitsOf(lengthBytes)
    }
  }

  /** Gives the buffer back whose records were visited: it can be opened anew. */
  giveBack(): void {
    const { memory } = this
    const buffer = this.#taking & this.#mask
    const state = memory.stateAt(buffer)
    const commits = memory.commitAt(buffer, 0)
    // Before it is open again: what stands there then is of its new life.
    this.#words.fill(0, commits, commits + (Atomics.load(this.#words, state) & OFFSET))
    const generation = nextGeneration(this.#taking, this.#mask + 1)
    Atomics.store(this.#words, state, this.#isShut ? HANDED_OVER : freeWord(generation))
    this.#registers[TAKING] = nextGeneration(this.#taking)
  }

  /** Seals the current buffer unless it is empty, so that what is in it need not wait for more. */
  sealCurrent(): void {
    const current = this.current
    const state = this.memory.stateAt(current & this.#mask)
    const word = Atomics.load(this.#words, state)
    if ((word & STATE_BITS) === 0 && (word & OFFSET) !== 0) this.#seal(state)
  }

  /**
   * Counts an appender out whose thread has ended, wherever it was. False if it cannot be known yet, since somebody who lives
   * is in the same buffer: the bell rings when it has left. `gone` says which others have ended.
   *
   * Nobody enters a sealed buffer. So once no living appender says that it is inside, all that are still counted are gone.
   * (Each says so before it enters, and unsays it after it has left.)
   */
  countOut(appender: number, gone: (appender: number) => boolean): boolean {
    const { memory } = this
    const inside = memory.appenderAt(appender, INSIDE)
    const buffer = Atomics.load(this.#words, inside) - 1
    if (buffer >= 0) {
      const state = memory.stateAt(buffer)
      this.#seal(state)
      const word = Atomics.load(this.#words, state)
      if ((word & STATE_BITS) === SEALED) {
        for (let other = 0; other < memory.shape.appenders; other++) {
          if (gone(other)) continue
          if (Atomics.load(this.#words, memory.appenderAt(other, INSIDE)) === buffer + 1) return false
        }
        this.#breakOpen(state)
      }
    }
    Atomics.store(this.#words, inside, 0)
    return true
  }

  /** Nobody may append any more. What is in the ring can still be taken; who is inside can leave. */
  shut(): void {
    if (this.#isShut) return
    this.#registers[LAST] = Atomics.exchange(this.#words, CURRENT, -1)
    this.#registers[IS_SHUT] = 1
    for (let buffer = 0; buffer <= this.#mask; buffer++) {
      const state = this.memory.stateAt(buffer)
      for (let isShut = false; !isShut;) {
        this.#seal(state)
        const word = Atomics.load(this.#words, state)
        // Who is about to open a free one may be faster; then it is sealed.
        const isFree = (word & STATE_BITS) === FLUSHING
        isShut = isFree
          ? Atomics.compareExchange(this.#words, state, word, HANDED_OVER) === word
          : (word & STATE_BITS) !== 0
      }
    }
  }

  /** Of a ring that was shut: what is inside counts as gone. It can leave nevertheless; its records are not taken. */
  breakOpen(): void {
    for (let buffer = 0; buffer <= this.#mask; buffer++) this.#breakOpen(this.memory.stateAt(buffer))
  }

  /** Whoever attached from that thread. */
  heldBy(threadId: number): number[] {
    const { memory } = this
    return Array.from({ length: memory.shape.appenders }, (_, appender) => appender).filter(
      (appender) => Atomics.load(this.#words, memory.appenderAt(appender, HOLDER)) === threadId + 1,
    )
  }

  /** Seals a buffer if it is open. */
  #seal(state: number): void {
    for (;;) {
      const word = Atomics.load(this.#words, state)
      if ((word & STATE_BITS) !== 0) return
      if (Atomics.compareExchange(this.#words, state, word, sealedWord(word)) === word) return
    }
  }

  /** Takes everybody out of a sealed buffer, and hands it over. */
  #breakOpen(state: number): void {
    for (;;) {
      const word = Atomics.load(this.#words, state)
      if ((word & STATE_BITS) !== SEALED) return
      const handedOver = (word & OFFSET) | HANDED_OVER
      if (Atomics.compareExchange(this.#words, state, word, handedOver) === word) return
    }
  }
}

/** Units that a record takes: one at least, so that each has a commit word of its own. */
export function unitsOf(lengthBytes: number): number {
  return Math.max(1, Math.ceil(lengthBytes / UNIT_BYTES))
}
