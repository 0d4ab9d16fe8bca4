import {
  freeWord,
  HANDED_OVER,
  nextGeneration,
  OFFSET,
  ringBell,
  SEALED,
  sealedWord,
  STATE_BITS,
  unitsOf,
  WRITER,
  WRITERS,
} from './flush-ring.js'
import { CURRENT, INSIDE, type RingMemory } from './ring-memory.js'

/** There is a further step. */
export const PENDING = 0
/** A range is the appender's, who is inside its buffer now: copy, then go on. */
export const RESERVED = 1
/** The record is complete, and the appender has left. */
export const LEFT = 2
/** No buffer is free: try again once the owner has given one back. Nothing was changed. */
export const EXHAUSTED = 3
/** The ring was shut. Nothing was changed. */
export const SHUT = 4
export type Outcome = typeof PENDING | typeof RESERVED | typeof LEFT | typeof EXHAUSTED | typeof SHUT

// Stages: what the next step does. Each looks at or changes shared memory once.
const LOOK = 0
const ANNOUNCE = 1
const ENTER = 2
const OPEN = 3
const CLAIM = 4
const SEAL = 5
const NEXT = 6
const ADVANCE = 7
const STAY_OR_RETRY = 8
const COMMIT = 9
const LEAVE = 10
const COUNT_DOWN = 11
const WITHDRAW = 12
const RING = 13
const NOTHING = 14

// Registers.
const STAGE = 0
const GENERATION = 1
const WORD = 2
const UNIT = 3
const LENGTH = 4
const OUTCOME = 5
/** How many words of its own an entry needs. */
export const REGISTERS = 6

/**
 * One appender's way into the ring and out again: reserve, copy, leave. It goes by steps, each of which touches shared memory
 * once, and between any two of which the thread may be stopped for long, or for ever; so a test can take the steps of several
 * in every order there is. What is known between steps is in `registers`.
 *
 * Who finds the buffer sealed, or too full and seals it, goes on to the next one at once. Whatever an appender leaves undone
 * there is done by the next one that comes: it opens the buffer that is current and free, and advances from one that is sealed.
 */
export class RingEntry {
  readonly #memory: RingMemory
  readonly #words: Int32Array
  readonly #appender: number
  readonly #inside: number
  readonly #registers: Int32Array
  readonly #mask: number

  constructor(memory: RingMemory, appender: number, registers = new Int32Array(REGISTERS)) {
    this.#memory = memory
    this.#words = memory.words
    this.#appender = appender
    this.#inside = memory.appenderAt(appender, INSIDE)
    this.#registers = registers
    this.#mask = memory.shape.buffers - 1
    registers[STAGE] = NOTHING
  }

  /** Begins a record of that length, which fits into a buffer. */
  begin(lengthBytes: number): void {
    this.#registers[LENGTH] = lengthBytes
    this.#registers[STAGE] = LOOK
  }

  /** Once `RESERVED`: where the bytes go, in {@link RingMemory.bytes}. */
  get atBytes(): number {
    return this.#memory.dataAtBytes(this.#buffer, this.#registers[UNIT])
  }

  get #buffer(): number {
    return this.#registers[GENERATION] & this.#mask
  }

  /** Takes steps until there is something to tell. */
  run(): Outcome {
    for (;;) {
      const outcome = this.step()
      if (outcome !== PENDING) return outcome
    }
  }

  step(): Outcome {
    const words = this.#words
    const registers = this.#registers
    const generation = registers[GENERATION]
    const state = this.#memory.stateAt(this.#buffer)
    const word = registers[WORD]
    switch (registers[STAGE]) {
      case LOOK: {
        const current = Atomics.load(words, CURRENT)
        registers[GENERATION] = current
        return current < 0 ? this.#end(SHUT) : this.#to(ANNOUNCE)
      }
      case ANNOUNCE:
        // Before it enters: whoever finds that this thread has ended can know where it may be counted.
        Atomics.store(words, this.#inside, this.#buffer + 1)
        return this.#to(ENTER)
      case ENTER: {
        const found = Atomics.load(words, state)
        registers[WORD] = found
        if ((found & STATE_BITS) === 0) return this.#to(this.#fits(found) ? CLAIM : SEAL)
        return this.#to(found === freeWord(generation) ? OPEN : NEXT)
      }
      case OPEN:
        Atomics.compareExchange(words, state, word, 0)
        return this.#to(ENTER)
      case CLAIM: {
        const claimed = word + WRITER + unitsOf(registers[LENGTH])
        if (Atomics.compareExchange(words, state, word, claimed) !== word) return this.#to(ENTER)
        registers[UNIT] = word & OFFSET
        registers[STAGE] = COMMIT
        return RESERVED
      }
      case SEAL:
        return this.#to(Atomics.compareExchange(words, state, word, sealedWord(word)) === word ? NEXT : ENTER)
      case NEXT: {
        const next = nextGeneration(generation)
        const isFree = Atomics.load(words, this.#memory.stateAt(next & this.#mask)) === freeWord(next)
        return this.#to(isFree ? ADVANCE : STAY_OR_RETRY)
      }
      case ADVANCE:
        Atomics.compareExchange(words, CURRENT, generation, nextGeneration(generation))
        return this.#to(LOOK)
      case STAY_OR_RETRY:
        // Not free although the current one is sealed: used up. If others have gone on meanwhile, it was no longer free.
        return Atomics.load(words, CURRENT) === generation ? this.#end(EXHAUSTED) : this.#to(LOOK)
      case COMMIT: {
        const commit = ((this.#appender + 1) << 24) | registers[LENGTH]
        Atomics.store(words, this.#memory.commitAt(this.#buffer, registers[UNIT]), commit)
        return this.#to(LEAVE)
      }
      case LEAVE: {
        const found = Atomics.load(words, state)
        registers[WORD] = found
        // Nobody is inside: the ring was broken open by a close that waited for this thread long enough.
        return (found & WRITERS) === 0 ? this.#end(LEFT) : this.#to(COUNT_DOWN)
      }
      case COUNT_DOWN: {
        const left = word - WRITER
        const isLast = (left & STATE_BITS) === SEALED && (left & WRITERS) === 0
        const changed = Atomics.compareExchange(words, state, word, isLast ? left | HANDED_OVER : left)
        return changed === word ? this.#end(LEFT) : this.#to(LEAVE)
      }
      case WITHDRAW:
        Atomics.store(words, this.#inside, 0)
        return this.#to(RING)
      case RING:
        // Also by who got nothing: the owner may wait for it to be out of a buffer.
        ringBell(words)
        registers[STAGE] = NOTHING
        return registers[OUTCOME] as Outcome
      default:
        return registers[OUTCOME] as Outcome
    }
  }

  #fits(word: number): boolean {
    return (word & OFFSET) + unitsOf(this.#registers[LENGTH]) <= this.#memory.unitsPerBuffer
  }

  #to(stage: number): Outcome {
    this.#registers[STAGE] = stage
    return PENDING
  }

  #end(outcome: Outcome): Outcome {
    this.#registers[OUTCOME] = outcome
    return this.#to(WITHDRAW)
  }
}
