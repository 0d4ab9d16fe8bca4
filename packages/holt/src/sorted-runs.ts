/** A key and its value behind it, in memory that holds others too. */
export interface RunEntry {
  readonly bytes: Uint8Array
  readonly keyOffset: number
  readonly keyLength: number
  readonly valueLength: number
}

/** Sorting one run holds the event loop: for about 10 ms. */
const RUN_BYTES = 2 ** 20
const INSERTION_SORT = 12

/**
 * Sorts any number of entries by the bytes of their keys; of several with one key the last one added stays. They are kept, all of
 * them, in runs of about {@link RUN_BYTES}, each sorted when it is full, and merged at the end.
 */
export class SortedRuns {
  readonly #runs: Run[] = []
  #run: Run | undefined

  /** Copies key and value. */
  add(key: Uint8Array, keyOffset: number, keyLength: number, value: Uint8Array): void {
    let run = this.#run
    if (run?.hasRoom(keyLength + value.length) !== true) {
      run?.sort()
      run = new Run(Math.max(RUN_BYTES, keyLength + value.length))
      this.#run = run
      this.#runs.push(run)
    }
    run.add(key, keyOffset, keyLength, value)
  }

  /** All entries, ascending, each key once. To be called when all were added. */
  *merged(): Generator<RunEntry, void, undefined> {
    this.#run?.sort()
    // A heap of the runs, by their next key; among equal keys the older run comes first.
    const heap: Run[] = []
    this.#runs.forEach((run, age) => {
      run.age = age
      heap.push(run)
    })
    for (let i = (heap.length >>> 1) - 1; i >= 0; i--) sink(heap, i)
    let pending: RunEntry | undefined
    while (heap.length > 0) {
      const run = heap[0]
      const entry = run.entry()
      if (pending !== undefined && compareKeys(pending, entry) !== 0) yield pending
      pending = entry
      if (!run.advance()) {
        const last = heap.pop()
        if (heap.length === 0 || last === undefined) break
        if (last !== run) heap[0] = last
      }
      sink(heap, 0)
    }
    if (pending !== undefined) yield pending
  }
}

function sink(heap: Run[], from: number): void {
  let at = from
  for (;;) {
    let least = at
    for (let child = 2 * at + 1; child <= 2 * at + 2 && child < heap.length; child++)
      if (heap[child].comesBefore(heap[least])) least = child
    if (least === at) return
    const swapped = heap[at]
    heap[at] = heap[least]
    heap[least] = swapped
    at = least
  }
}

function compareKeys(a: RunEntry, b: RunEntry): number {
  const shorter = Math.min(a.keyLength, b.keyLength)
  for (let i = 0; i < shorter; i++) {
    const difference = a.bytes[a.keyOffset + i] - b.bytes[b.keyOffset + i]
    if (difference !== 0) return difference
  }
  return a.keyLength - b.keyLength
}

class Run {
  age = 0
  readonly #bytes: Uint8Array
  #used = 0
  #offsets = new Uint32Array(1_024)
  #keyLengths = new Uint16Array(1_024)
  #valueLengths = new Uint32Array(1_024)
  #count = 0
  /** Entries in order; each is a number of the arrays above. */
  #order = new Uint32Array(0)
  #at = 0
  #next: RunEntry | undefined

  constructor(capacityBytes: number) {
    this.#bytes = new Uint8Array(capacityBytes)
  }

  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= this.#bytes.length
  }

  add(key: Uint8Array, keyOffset: number, keyLength: number, value: Uint8Array): void {
    const entry = this.#count++
    if (entry === this.#offsets.length) this.#grow(entry * 2)
    const bytes = this.#bytes
    const at = this.#used
    for (let i = 0; i < keyLength; i++) bytes[at + i] = key[keyOffset + i]
    bytes.set(value, at + keyLength)
    this.#offsets[entry] = at
    this.#keyLengths[entry] = keyLength
    this.#valueLengths[entry] = value.length
    this.#used = at + keyLength + value.length
  }

  #grow(length: number): void {
    const offsets = new Uint32Array(length)
    const keyLengths = new Uint16Array(length)
    const valueLengths = new Uint32Array(length)
    offsets.set(this.#offsets)
    keyLengths.set(this.#keyLengths)
    valueLengths.set(this.#valueLengths)
    this.#offsets = offsets
    this.#keyLengths = keyLengths
    this.#valueLengths = valueLengths
  }

  sort(): void {
    const order = new Uint32Array(this.#count)
    for (let i = 0; i < order.length; i++) order[i] = i
    this.#order = order
    this.#sortRange(0, order.length, 0)
  }

  entry(): RunEntry {
    if (this.#next === undefined) {
      const entry = this.#order[this.#at]
      const keyLength = this.#keyLengths[entry]
      this.#next = {
        bytes: this.#bytes,
        keyOffset: this.#offsets[entry],
        keyLength,
        valueLength: this.#valueLengths[entry],
      }
    }
    return this.#next
  }

  /** False at the end. */
  advance(): boolean {
    this.#next = undefined
    return ++this.#at < this.#count
  }

  comesBefore(other: Run): boolean {
    return (compareKeys(this.entry(), other.entry()) || this.age - other.age) < 0
  }

  /** Four bytes of a key as a number in their order; fewer at its end, which comes before the same bytes with more behind. */
  #digit(entry: number, depth: number): number {
    const bytes = this.#bytes
    const at = this.#offsets[entry] + depth
    const left = this.#keyLengths[entry] - depth
    if (left >= 4) {
      return (
        (((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0) * 8 + 4
      )
    }
    let digit = 0
    for (let i = 0; i < 4; i++) digit = digit * 256 + (i < left ? bytes[at + i] : 0)
    return digit * 8 + left
  }

  /**
   * Multikey quicksort (J. Bentley, R. Sedgewick, "Fast algorithms for sorting and searching strings", 1997), four bytes at a
   * time. The keys of order[from … to) share their first `depth` bytes. Entries with equal keys end up in the order added.
   */
  #sortRange(from: number, to: number, depth: number): void {
    const order = this.#order
    while (to - from > INSERTION_SORT) {
      const pivot = median(
        this.#digit(order[from], depth),
        this.#digit(order[(from + to) >>> 1], depth),
        this.#digit(order[to - 1], depth),
      )
      let less = from
      let greater = to
      for (let i = from; i < greater;) {
        const entry = order[i]
        const digit = this.#digit(entry, depth)
        if (digit < pivot) {
          order[i++] = order[less]
          order[less++] = entry
        } else if (digit > pivot) {
          order[i] = order[--greater]
          order[greater] = entry
        } else {
          i++
        }
      }
      this.#sortRange(from, less, depth)
      this.#sortRange(greater, to, depth)
      if (pivot % 8 < 4) {
        order.subarray(less, greater).sort()
        return
      }
      from = less
      to = greater
      depth += 4
    }
    for (let i = from + 1; i < to; i++) {
      const entry = order[i]
      let j = i
      for (; j > from && this.#compare(entry, order[j - 1], depth) < 0; j--) order[j] = order[j - 1]
      order[j] = entry
    }
  }

  #compare(a: number, b: number, from: number): number {
    for (let depth = from; ; depth += 4) {
      const left = this.#digit(a, depth)
      const right = this.#digit(b, depth)
      if (left !== right) return left - right
      if (left % 8 < 4) return a - b
    }
  }
}

function median(a: number, b: number, c: number): number {
  return a < b ? (b < c ? b : Math.max(a, c)) : a < c ? a : Math.max(b, c)
}
