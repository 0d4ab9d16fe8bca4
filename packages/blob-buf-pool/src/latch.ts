import { HoltError } from '@holt/errors'

/**
 * One hybrid latch per slot, over words in shared memory (J. Böttcher et al., "Scalable and Robust Latches for
 * Database Systems", DaMoN 2020). A latch is held in one of three ways:
 *
 * - *optimistic*: take the version, read, ask whether the version still holds; nothing is written, so readers do not
 *   disturb one another;
 * - *shared*: keeps writers out, lets other shared holders in;
 * - *exclusive*: alone. The version goes up before the latch opens again.
 *
 * ```
 * latch word   31        30         29 … 16                    15 … 0
 *             ┌─────────┬──────────┬──────────────────────────┬──────────────────┐
 *             │ sleepers│ exclusive│ exclusive requests waiting│ shared holders   │
 *             └─────────┴──────────┴──────────────────────────┴──────────────────┘
 * ```
 *
 * Waiting exclusive requests keep new shared holders out, so that a stream of readers cannot starve a writer. The
 * latch is not recursive and does not know its holders. A thread that is terminated leaves its latches held, and its
 * waiting requests counted: the blocking calls give up after a limit and say so, and {@link breakOpen} mends it.
 *
 * Every call throws `HOLT_INVALID_ARGUMENT` for a slot that the table has no words for.
 *
 * Why {@link validate} looks at the latch first and at the version afterwards: a writer that overlapped the reading
 * either still holds the latch, which the first look shows, or has raised the version before it let go, which the
 * second look shows. The other order would miss one that lets go in between.
 */
export class LatchTable {
  readonly #latches: Int32Array
  readonly #versions: Int32Array
  readonly #slotCount: number

  /**
   * Entry `slot` of both arrays belongs to that slot. Both must lie in shared memory and start as zeros; throws
   * `HOLT_INVALID_ARGUMENT` otherwise.
   */
  constructor(latchWords: Int32Array, versionWords: Int32Array) {
    if (
      !(latchWords.buffer instanceof SharedArrayBuffer) ||
      !(versionWords.buffer instanceof SharedArrayBuffer)
    ) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'latch and version words must lie in a SharedArrayBuffer')
    }
    if (latchWords.length !== versionWords.length) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `${String(latchWords.length)} latch words and ${String(versionWords.length)} version words; as many of one as of the other are wanted`,
      )
    }
    this.#latches = latchWords
    this.#versions = versionWords
    this.#slotCount = latchWords.length
  }

  // ---- optimistic ----------------------------------------------------------------------------------------------

  /** The slot's version, 0 … 2^31 - 1, once no one holds it exclusively. Throws `HOLT_INTERNAL` after `limitMs`. */
  readVersion(slot: number, limitMs = LATCH_LIMIT_MS): number {
    const version = this.tryReadVersion(slot)
    if (version >= 0) return version
    this.#waitUntil(slot, limitMs, () => (Atomics.load(this.#latches, slot) & EXCLUSIVE) === 0, 'read')
    return Atomics.load(this.#versions, slot) & VERSION_MASK
  }

  /** The slot's version, or -1 while it is held exclusively. */
  tryReadVersion(slot: number): number {
    if (slot >>> 0 !== slot || slot >= this.#slotCount) throw noSuchSlot(slot)
    if ((Atomics.load(this.#latches, slot) & EXCLUSIVE) !== 0) return -1
    return Atomics.load(this.#versions, slot) & VERSION_MASK
  }

  /** Whether what was read since {@link readVersion} gave `version` is whole: nobody has changed the slot. */
  validate(slot: number, version: number): boolean {
    if (slot >>> 0 !== slot || slot >= this.#slotCount) throw noSuchSlot(slot)
    if ((Atomics.load(this.#latches, slot) & EXCLUSIVE) !== 0) return false
    return (Atomics.load(this.#versions, slot) & VERSION_MASK) === version
  }

  /** Tells optimistic readers of the slot to start over, without holding it. */
  raiseVersion(slot: number): void {
    if (slot >>> 0 !== slot || slot >= this.#slotCount) throw noSuchSlot(slot)
    Atomics.add(this.#versions, slot, 1)
  }

  // ---- shared --------------------------------------------------------------------------------------------------

  tryLockShared(slot: number): boolean {
    if (slot >>> 0 !== slot || slot >= this.#slotCount) throw noSuchSlot(slot)
    for (;;) {
      const word = Atomics.load(this.#latches, slot)
      if ((word & (EXCLUSIVE | REQUESTS)) !== 0) return false
      if ((word & SHARED) === SHARED) {
        throw new HoltError(
          'HOLT_INTERNAL',
          `the latch of slot ${String(slot)} has ${String(SHARED)} shared holders, the most there can be`,
        )
      }
      if (Atomics.compareExchange(this.#latches, slot, word, word + 1) === word) return true
    }
  }

  /** Waits until the latch is shared with the caller. Throws `HOLT_INTERNAL` after `limitMs`. */
  lockShared(slot: number, limitMs = LATCH_LIMIT_MS): void {
    if (this.tryLockShared(slot)) return
    this.#waitUntil(slot, limitMs, () => this.tryLockShared(slot), 'shared')
  }

  /** Throws `HOLT_INTERNAL` when nobody shares the latch. */
  unlockShared(slot: number): void {
    if (slot >>> 0 !== slot || slot >= this.#slotCount) throw noSuchSlot(slot)
    for (;;) {
      const word = Atomics.load(this.#latches, slot)
      if ((word & SHARED) === 0) {
        throw new HoltError(
          'HOLT_INTERNAL',
          `the latch of slot ${String(slot)} is released by a shared holder, but has none`,
        )
      }
      if (Atomics.compareExchange(this.#latches, slot, word, word - 1) !== word) continue
      if ((word & SHARED) === 1 && (word & REQUESTS) !== 0) Atomics.notify(this.#latches, slot)
      return
    }
  }

  // ---- exclusive -----------------------------------------------------------------------------------------------

  tryLockExclusive(slot: number): boolean {
    if (slot >>> 0 !== slot || slot >= this.#slotCount) throw noSuchSlot(slot)
    for (;;) {
      const word = Atomics.load(this.#latches, slot)
      if ((word & (EXCLUSIVE | SHARED)) !== 0) return false
      if (Atomics.compareExchange(this.#latches, slot, word, word | EXCLUSIVE) === word) return true
    }
  }

  /** Waits until the caller is the latch's one holder. Throws `HOLT_INTERNAL` after `limitMs`. */
  lockExclusive(slot: number, limitMs = LATCH_LIMIT_MS): void {
    if (this.tryLockExclusive(slot)) return
    Atomics.add(this.#latches, slot, ONE_REQUEST)
    try {
      this.#waitUntil(slot, limitMs, () => this.tryLockExclusive(slot), 'exclusive')
    } finally {
      // A request that was given up may have been all that kept shared holders out.
      if ((this.#withdraw(slot) & EXCLUSIVE) === 0) this.#wake(slot)
    }
  }

  /** Raises the version, then opens the latch. Throws `HOLT_INTERNAL` when nobody holds it exclusively. */
  unlockExclusive(slot: number): void {
    if (slot >>> 0 !== slot || slot >= this.#slotCount) throw noSuchSlot(slot)
    if ((Atomics.load(this.#latches, slot) & EXCLUSIVE) === 0) {
      throw new HoltError(
        'HOLT_INTERNAL',
        `the latch of slot ${String(slot)} is released by an exclusive holder, but has none`,
      )
    }
    Atomics.add(this.#versions, slot, 1)
    const before = Atomics.and(this.#latches, slot, ~(EXCLUSIVE | SLEEPERS))
    if ((before & (SLEEPERS | REQUESTS)) !== 0) Atomics.notify(this.#latches, slot)
  }

  /**
   * Opens the latch, whoever holds it or waits for it, and fails every optimistic reading of the slot. For the latches
   * of a thread that was terminated, once it is certain that no living thread holds them: what the dead one was
   * changing may be half done. Living threads that wait for the latch go on.
   */
  breakOpen(slot: number): void {
    this.raiseVersion(slot)
    Atomics.store(this.#latches, slot, 0)
    Atomics.notify(this.#latches, slot)
  }

  // ---- waiting -------------------------------------------------------------------------------------------------

  /** Takes an exclusive request back, unless {@link breakOpen} has done so. Returns the word as it was. */
  #withdraw(slot: number): number {
    for (;;) {
      const word = Atomics.load(this.#latches, slot)
      if ((word & REQUESTS) === 0) return word
      if (Atomics.compareExchange(this.#latches, slot, word, word - ONE_REQUEST) === word) return word
    }
  }

  #wake(slot: number): void {
    Atomics.and(this.#latches, slot, ~SLEEPERS)
    Atomics.notify(this.#latches, slot)
  }

  /**
   * Spins a little, then sleeps on the latch word between attempts. The `sleepers` bit is set before each sleep, so
   * that who opens the latch knows whether to wake anyone.
   */
  #waitUntil(slot: number, limitMs: number, attempt: () => boolean, wanted: string): void {
    if (!(limitMs >= 0)) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', `limitMs is ${String(limitMs)}; milliseconds are wanted`)
    }
    for (let spin = 0; spin < SPINS; spin++) if (attempt()) return
    const deadlineMs = performance.now() + limitMs
    for (;;) {
      const word = Atomics.or(this.#latches, slot, SLEEPERS) | SLEEPERS
      if (attempt()) return
      const leftMs = deadlineMs - performance.now()
      if (leftMs <= 0) {
        throw new HoltError(
          'HOLT_INTERNAL',
          `the latch of slot ${String(slot)} could not be had (${wanted}) within ${String(limitMs)} ms: ` +
            `its holder forgot it or its thread was terminated`,
        )
      }
      sleep(this.#latches, slot, word, leftMs)
    }
  }
}

function noSuchSlot(slot: number): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', `the latch table has no slot ${String(slot)}`)
}

let maySleep = true

function sleep(words: Int32Array, index: number, expected: number, limitMs: number): void {
  if (!maySleep) return
  try {
    Atomics.wait(words, index, expected, limitMs)
  } catch {
    // This thread is one that must not block (an embedder can forbid it): it spins.
    maySleep = false
  }
}

/** How long a blocking call waits, unless told otherwise, before it takes the latch's holder for dead. */
export const LATCH_LIMIT_MS = 30_000

const SPINS = 64
const SHARED = 0xffff
const ONE_REQUEST = 0x1_0000
const REQUESTS = 0x3fff_0000
const EXCLUSIVE = 0x4000_0000
const SLEEPERS = -0x8000_0000
const VERSION_MASK = 0x7fff_ffff
