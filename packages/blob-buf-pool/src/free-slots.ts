import { HoltError } from '@holt/errors'

/**
 * Which slots are free: a bit a slot in shared memory, set while the slot is free. Who clears a set bit has the slot.
 * That is one atomic instruction on one word, so there is no moment at which a thread that stops, or is terminated,
 * leaves the rest unable to go on, and nothing to confuse a compare-exchange (the ABA problem of linked free lists).
 *
 * ```
 * i32 index  0             16            32              48           64 …             …               …
 *           ┌─────────────┬─────────────┬───────────────┬────────────┬───────────────┬───────────────┬──────────────┐
 *           │ mark, id,   │ leases,     │ releases      │ exhaustions│ summary: a bit│ a bit a slot  │ transfer     │
 *           │ sizes, hint │ high water  │               │            │ a word of bits│ (bit 0 unused)│ ticket a slot│
 *           └─────────────┴─────────────┴───────────────┴────────────┴───────────────┴───────────────┴──────────────┘
 *            ◄──────────── a cache line each, counters of 64 bits in two words ─────►
 * ```
 *
 * The lowest free slot is preferred, so that memory which was touched once is used again before fresh memory is.
 *
 * Two things only save time and may be wrong: a *summary* bit says that a word may hold a set bit (set by whoever
 * returns a slot, cleared by whoever finds the word empty), and the *hint* is the summary word to begin at. Before a
 * slab is called exhausted all words have been looked at.
 *
 * Atomic operations cost several times a plain read. What the next atomic operation verifies anyway is read plainly.
 *
 * A thread can be terminated between any two instructions. So a lease is counted before its bit is cleared, and a
 * return after its bit is set: what is left half done makes the books say that one slot less is free than there is, and
 * that slot can still be had.
 */
export class FreeSlots {
  readonly buffer: SharedArrayBuffer
  readonly #head: Int32Array
  readonly #summary: Int32Array
  readonly #words: Int32Array
  readonly #tickets: Int32Array

  private constructor(buffer: SharedArrayBuffer, capacity: number) {
    const { summaryAt, wordsAt, ticketsAt } = placesFor(capacity)
    this.buffer = buffer
    this.#head = new Int32Array(buffer, 0, HEAD_WORDS)
    this.#summary = new Int32Array(buffer, summaryAt * 4, wordsAt - summaryAt)
    this.#words = new Int32Array(buffer, wordsAt * 4, ticketsAt - wordsAt)
    this.#tickets = new Int32Array(buffer, ticketsAt * 4, capacity)
  }

  /** For slots 1 … `capacity` - 1, none of which exists yet. Throws `HOLT_OUT_OF_MEMORY`. */
  static create(capacity: number): FreeSlots {
    const lengthBytes = placesFor(capacity).end * 4
    let buffer: SharedArrayBuffer
    try {
      buffer = new SharedArrayBuffer(lengthBytes)
    } catch (cause) {
      throw new HoltError(
        'HOLT_OUT_OF_MEMORY',
        `no ${String(lengthBytes)} bytes of shared memory for the books of a slab`,
        { cause },
      )
    }
    const slots = new FreeSlots(buffer, capacity)
    const head = slots.#head
    head[MARK] = MARK_VALUE
    head[ID] = Math.floor(Math.random() * 2 ** 32)
    head[ID + 1] = Math.floor(Math.random() * 2 ** 32)
    head[CAPACITY] = capacity
    Atomics.store(head, LIMIT, 1)
    return slots
  }

  /** Throws `HOLT_INVALID_ARGUMENT` when the buffer was not made by {@link create} with this capacity. */
  static attach(buffer: unknown, capacity: number): FreeSlots {
    if (
      !(buffer instanceof SharedArrayBuffer) ||
      buffer.byteLength !== placesFor(capacity).end * 4 ||
      new Int32Array(buffer)[MARK] !== MARK_VALUE ||
      new Int32Array(buffer)[CAPACITY] !== capacity
    ) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `what was shared holds no books of a slab of ${String(capacity - 1)} slots`,
      )
    }
    return new FreeSlots(buffer, capacity)
  }

  /** Whether both look at the same memory. */
  isSame(other: FreeSlots): boolean {
    return this.#head[ID] === other.#head[ID] && this.#head[ID + 1] === other.#head[ID + 1]
  }

  /** One more than the highest slot that exists. */
  get limit(): number {
    return this.#head[LIMIT]
  }

  /**
   * Slots that are out. Exact while no other thread leases or releases, and none was terminated in the middle of it;
   * otherwise never less than there truly are, by one a thread at most more.
   */
  get heldCount(): number {
    const head = this.#head
    // In this order: a lease counted between the two looks must not be missed.
    const releases = Atomics.load(head, RELEASES)
    return Math.min((head[LEASES] - releases) | 0, head[LIMIT] - 1)
  }

  get leases(): number {
    return this.#counter(LEASES)
  }
  get releases(): number {
    return this.#counter(RELEASES)
  }
  get exhaustions(): number {
    return this.#counter(EXHAUSTIONS)
  }
  get highWater(): number {
    return Atomics.load(this.#head, HIGH_WATER)
  }

  /** Brings slots up to `limit` - 1 into being, free. One thread at a time. */
  extend(limit: number): void {
    const from = this.limit
    const capacity = this.#tickets.length
    if (!Number.isInteger(limit) || limit > capacity) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `a slab of at most ${String(capacity - 1)} slots cannot have ${String(limit - 1)}`,
      )
    }
    if (limit <= from) return
    Atomics.store(this.#head, LIMIT, limit)
    for (let word = from >>> 5; word <= (limit - 1) >>> 5; word++) {
      const low = Math.max(from - word * 32, 0)
      const high = Math.min(limit - word * 32, 32)
      this.#offer(word, (high === 32 ? -1 : (1 << high) - 1) & (-1 << low))
    }
  }

  /** A slot that was free and is the caller's now; 0 when none is free. */
  take(): number {
    const head = this.#head
    const leases = (Atomics.add(head, LEASES, 1) + 1) | 0
    if (leases === 0) Atomics.add(head, LEASES + 1, 1)
    const slot = this.#find()
    if (slot === 0) {
      if (Atomics.sub(head, LEASES, 1) === 0) Atomics.sub(head, LEASES + 1, 1)
      if (Atomics.add(head, EXHAUSTIONS, 1) === -1) Atomics.add(head, EXHAUSTIONS + 1, 1)
      return 0
    }
    const held = Math.min((leases - head[RELEASES]) | 0, head[LIMIT] - 1)
    if (held > head[HIGH_WATER]) raise(head, HIGH_WATER, held)
    return slot
  }

  /** Makes a slot free. Throws `HOLT_LEASE` when it does not exist or is free already; nothing changes then. */
  give(slot: number): void {
    const head = this.#head
    // The plain look may be old: a slot that another thread has just added is looked for again before it is refused.
    if (slot >>> 0 !== slot || slot === 0 || (slot >= head[LIMIT] && slot >= Atomics.load(head, LIMIT))) {
      throw foreign(slot)
    }
    if (this.#tickets[slot] !== 0) {
      throw new HoltError('HOLT_LEASE', `slot ${String(slot)} is on its way to another thread`)
    }
    const word = slot >>> 5
    const bit = 1 << (slot & 31)
    if ((Atomics.or(this.#words, word, bit) & bit) !== 0) {
      throw new HoltError('HOLT_LEASE', `slot ${String(slot)} was released twice`)
    }
    if (Atomics.add(head, RELEASES, 1) === -1) Atomics.add(head, RELEASES + 1, 1)
    this.#announce(word)
  }

  /** Whether the slot exists and is out. */
  isHeld(slot: number): boolean {
    if (slot >>> 0 !== slot || slot === 0 || slot >= Atomics.load(this.#head, LIMIT)) return false
    return (Atomics.load(this.#words, slot >>> 5) & (1 << (slot & 31))) === 0
  }

  /** Leaves a ticket at a slot that is out; whoever shows it takes the slot over. Never 0. */
  leaveTicket(slot: number): number {
    const counted = (Atomics.add(this.#head, TICKETS, 1) + 1) | 0
    const ticket = counted === 0 ? 1 : counted
    Atomics.store(this.#tickets, slot, ticket)
    return ticket
  }

  /** True once for each ticket, while the slot is out. */
  takeTicket(slot: number, ticket: number): boolean {
    if (ticket === 0 || !this.isHeld(slot)) return false
    return Atomics.compareExchange(this.#tickets, slot, ticket, 0) === ticket
  }

  // ---- looking for a free slot ---------------------------------------------------------------------------------

  #find(): number {
    const hint = this.#head[HINT]
    const slot = this.#findByAnnouncement(hint, hint + 1, hint)
    return slot === 0 ? this.#search() : slot
  }

  #search(): number {
    const head = this.#head
    for (;;) {
      const releases = Atomics.load(head, RELEASES)
      const hint = head[HINT]
      let slot = this.#findByAnnouncement(hint, this.#summary.length, hint)
      if (slot === 0 && hint > 0) slot = this.#findByAnnouncement(0, hint, hint)
      if (slot !== 0) return slot
      // Something came back meanwhile, perhaps where this thread had looked already.
      if (Atomics.load(head, RELEASES) !== releases) continue
      // The caller's own lease is counted. If the books know of one more slot, its announcement may have been lost.
      return ((head[LEASES] - releases) | 0) < head[LIMIT] ? this.#findEverywhere() : 0
    }
  }

  #findByAnnouncement(from: number, to: number, hint: number): number {
    const summary = this.#summary
    for (let group = from; group < to; group++) {
      let present = summary[group]
      while (present !== 0) {
        const mark = present & -present
        const word = (group << 5) + 31 - Math.clz32(mark)
        const slot = this.#claim(word)
        if (slot !== 0) {
          if (group !== hint) Atomics.compareExchange(this.#head, HINT, hint, group)
          return slot
        }
        Atomics.and(summary, group, ~mark)
        // A slot that came back between the two lines above was announced in vain: announce it again, and look again.
        if (Atomics.load(this.#words, word) === 0) present &= ~mark
        else Atomics.or(summary, group, mark)
      }
    }
    return 0
  }

  #findEverywhere(): number {
    const last = (Atomics.load(this.#head, LIMIT) - 1) >>> 5
    for (let word = 0; word <= last; word++) {
      const slot = this.#claim(word)
      if (slot === 0) continue
      this.#announce(word)
      return slot
    }
    return 0
  }

  /** The slot of a word's lowest set bit, which this thread cleared; 0 when none is set. */
  #claim(word: number): number {
    const words = this.#words
    let free = words[word]
    while (free !== 0) {
      const bit = free & -free
      const before = Atomics.and(words, word, ~bit)
      if ((before & bit) !== 0) return (word << 5) + 31 - Math.clz32(bit)
      free = before
    }
    return 0
  }

  #offer(word: number, bits: number): void {
    Atomics.or(this.#words, word, bits)
    this.#announce(word)
  }

  #announce(word: number): void {
    const group = word >>> 5
    const mark = 1 << (word & 31)
    if ((this.#summary[group] & mark) === 0) Atomics.or(this.#summary, group, mark)
    if (group < this.#head[HINT]) Atomics.store(this.#head, HINT, group)
  }

  #counter(at: number): number {
    for (;;) {
      const high = Atomics.load(this.#head, at + 1)
      const low = Atomics.load(this.#head, at)
      if (Atomics.load(this.#head, at + 1) === high) return (high >>> 0) * 2 ** 32 + (low >>> 0)
    }
  }
}

function raise(head: Int32Array, at: number, value: number): void {
  for (;;) {
    const present = Atomics.load(head, at)
    if (present >= value || Atomics.compareExchange(head, at, present, value) === present) return
  }
}

function foreign(slot: number): HoltError {
  return new HoltError('HOLT_LEASE', `slot ${String(slot)} does not belong to this slab`)
}

/** Where the parts begin, in words. */
function placesFor(capacity: number): {
  readonly summaryAt: number
  readonly wordsAt: number
  readonly ticketsAt: number
  readonly end: number
} {
  const wordCount = Math.ceil(capacity / 32)
  const wordsAt = HEAD_WORDS + Math.ceil(wordCount / 32)
  const ticketsAt = wordsAt + wordCount
  return { summaryAt: HEAD_WORDS, wordsAt, ticketsAt, end: ticketsAt + capacity }
}

const HEAD_WORDS = 64
const MARK = 0
const MARK_VALUE = 0x706c_6f68
const ID = 1
const CAPACITY = 3
const LIMIT = 4
const HINT = 5
const TICKETS = 6
const LEASES = 16
const HIGH_WATER = 18
const RELEASES = 32
const EXHAUSTIONS = 48
