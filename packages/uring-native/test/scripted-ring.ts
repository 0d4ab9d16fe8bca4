import type { NativeRing, NativeRingUse, RingAddon } from '../src/addon.js'

/** An operation as it reached the ring. */
export interface Submitted {
  readonly opcode: number
  readonly slot: number
  readonly fd: number
  readonly offset: number
  readonly start: number
  readonly length: number
  readonly link: number
  readonly generation: number
  readonly fileIndex: number
}

export interface Completion {
  readonly slot: number
  readonly generation: number
  readonly result: number
}

/**
 * A ring without a kernel: it takes commands as the addon does, and completes what the test says, when the test says
 * so. What it owns is counted as a kernel would, unless `ownedOverride` is set.
 */
export class ScriptedRing implements RingAddon {
  readonly granted: number
  readonly completionEntries: number
  /** One list for each native call that handed something over. */
  readonly calls: Submitted[][] = []
  readonly cancelled: Completion[] = []
  closed = 0
  ownedOverride: number | undefined
  brokenErrno = 0
  /** Completes at once, inside the call: results by operation, or undefined to leave it outstanding. */
  inline: (operation: Submitted) => number | undefined = () => undefined
  /** Completed inside a call and not delivered yet. */
  readonly #inline: Completion[] = []
  #owned = new Map<string, Submitted>()
  #ring: NativeRing | undefined
  #onCompletions: (count: number) => void = () => undefined

  /** @param granted - how many entries are granted, whatever is asked for */
  constructor(granted: number) {
    this.granted = granted
    this.completionEntries = 2 * granted
  }

  /** What is outstanding, in the order in which it came. */
  get outstanding(): Submitted[] {
    return [...this.#owned.values()]
  }

  get submitted(): Submitted[] {
    return this.calls.flat()
  }

  /** Delivers completions from the event loop, whatever they name. */
  complete(...completions: readonly Completion[]): void {
    this.#onCompletions(this.#deliver(completions))
  }

  /** Completes one outstanding operation, with success unless a result is given. */
  finish(operation: Submitted, result = operation.length): void {
    this.complete({ slot: operation.slot, generation: operation.generation, result })
  }

  createRing(
    entries: number,
    _idleMs: number,
    _fileTable: number,
    _bufferTable: number,
    onCompletions: (count: number) => void,
  ): NativeRing {
    const granted = Math.min(entries, this.granted)
    this.#onCompletions = onCompletions
    this.#ring = {
      id: 1,
      entries: granted,
      completionEntries: 2 * granted,
      setupFlags: 0,
      submissionThreadRefusal: 0,
      fileTableRefusal: 0,
      bufferTableRefusal: 0,
      opcodes: [],
      held: new Array<undefined>(2 * granted).fill(undefined),
      commands: new Float64Array(10 * Math.max(64, granted)),
      completions: new Int32Array(2 + 3 * 1024),
    }
    return this.#ring
  }

  submitRing(_ring: number, count: number): number {
    this.passOnRing(_ring, count)
    return this.#deliver(this.#inline.splice(0))
  }

  passOnRing(_ring: number, count: number): void {
    const { commands } = this.#made()
    const call: Submitted[] = []
    for (let i = 0; i < count; i++) {
      const [opcode, slot, fd, offset, start, length, , link, generation, fileIndex] = commands.subarray(
        10 * i,
      )
      const operation = { opcode, slot, fd, offset, start, length, link, generation, fileIndex }
      call.push(operation)
      this.#owned.set(`${String(slot)}:${String(generation)}`, operation)
      const result = this.inline(operation)
      if (result !== undefined) this.#inline.push({ slot, generation, result })
    }
    if (count > 0) this.calls.push(call)
  }

  waitRing(): number {
    return this.#deliver(this.#inline.splice(0))
  }

  cancelRing(_ring: number, slot: number, generation: number): void {
    this.cancelled.push({ slot, generation, result: 0 })
  }

  setRingFile(): number {
    return 0
  }

  setRingBuffer(): number {
    return 0
  }

  ringUse(): NativeRingUse {
    return { enters: this.calls.length, fixedBufferOperations: 0, fixedFileOperations: 0 }
  }

  closeRing(): void {
    this.closed++
  }

  #made(): NativeRing {
    if (this.#ring === undefined) throw new Error('no ring was made')
    return this.#ring
  }

  #deliver(completions: readonly Completion[]): number {
    const { completions: array } = this.#made()
    completions.forEach(({ slot, generation, result }, i) => {
      this.#owned.delete(`${String(slot)}:${String(generation)}`)
      array.set([slot, generation, result], 2 + 3 * i)
    })
    array[0] = this.ownedOverride ?? this.#owned.size
    array[1] = this.brokenErrno
    return completions.length
  }
}
