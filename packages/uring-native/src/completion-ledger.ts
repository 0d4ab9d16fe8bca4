/**
 * Which operations are with the kernel, and what a completion means. Pure bookkeeping: no ring, no buffers.
 *
 * An operation is named by a slot and a generation. A slot is used again as soon as its operation has completed, the
 * generation of a slot never twice in a row (it wraps after 2^31 - 1 uses), so a completion that comes when it should
 * not is told from the one that is awaited:
 *
 * ```
 *   slot 3   generation 7 outstanding     completion (3, 7): settled
 *                                         completion (3, 6): stale, of an operation that was given up; ignored
 *                                         completion (3, 8): foreign, nobody issued it
 *   slot 3   generation 7 was the last    completion (3, 7): duplicate
 *   slot 9   of a ring of eight           foreign
 * ```
 *
 * Foreign and duplicate ones mean that the ring or this book is wrong about who owns which memory: nothing that is
 * outstanding can be trusted any more. So does a kernel that owns fewer operations than the book: completions are
 * missing.
 */
export class CompletionLedger<Operation extends object> {
  readonly #operations: (Operation | undefined)[]
  readonly #generations: Int32Array
  readonly #freeSlots: number[]
  #staleCount = 0

  constructor(slotCount: number) {
    this.#operations = new Array<Operation | undefined>(slotCount).fill(undefined)
    this.#generations = new Int32Array(slotCount)
    this.#freeSlots = Array.from({ length: slotCount }, (_, slot) => slotCount - 1 - slot)
  }

  get slotCount(): number {
    return this.#operations.length
  }

  get freeCount(): number {
    return this.#freeSlots.length
  }

  get outstandingCount(): number {
    return this.#operations.length - this.#freeSlots.length
  }

  /** Completions that were ignored. */
  get staleCount(): number {
    return this.#staleCount
  }

  /** The slot for an operation that is about to be handed over, or undefined when all are in use. */
  issue(operation: Operation): number | undefined {
    const slot = this.#freeSlots.pop()
    if (slot === undefined) return undefined
    this.#operations[slot] = operation
    this.#generations[slot] = this.#generations[slot] === 0x7fffffff ? 1 : this.#generations[slot] + 1
    return slot
  }

  /** The generation of the latest operation in this slot. */
  generationOf(slot: number): number {
    return this.#generations[slot]
  }

  /** The operation that this completion ends, or what is wrong with it. */
  settle(slot: number, generation: number): Operation | 'stale' | 'duplicate' | 'foreign' {
    if (!(slot >= 0 && slot < this.#operations.length)) return 'foreign'
    const latest = this.#generations[slot]
    const operation = this.#operations[slot]
    if (generation === latest && operation !== undefined) {
      this.#operations[slot] = undefined
      this.#freeSlots.push(slot)
      return operation
    }
    if (generation === latest && latest !== 0) return 'duplicate'
    if (generation < 1 || generation > latest) return 'foreign'
    this.#staleCount++
    return 'stale'
  }

  /** How many completions will never come, when the kernel says that it owns so many operations. */
  missingCount(ownedByKernel: number): number {
    return Math.max(0, this.outstandingCount - ownedByKernel)
  }

  /** Everything outstanding, taken out. */
  abandonAll(): Operation[] {
    const abandoned: Operation[] = []
    this.#operations.forEach((operation, slot) => {
      if (operation === undefined) return
      abandoned.push(operation)
      this.#operations[slot] = undefined
      this.#freeSlots.push(slot)
    })
    return abandoned
  }

  some(test: (operation: Operation) => boolean): boolean {
    return this.#operations.some((operation) => operation !== undefined && test(operation))
  }

  slotOf(wanted: Operation): number | undefined {
    const slot = this.#operations.indexOf(wanted)
    return slot < 0 ? undefined : slot
  }
}
