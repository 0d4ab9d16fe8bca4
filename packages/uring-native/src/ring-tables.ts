import { HoltError } from '@holt/errors'

import type { NativeRing, RingAddon } from './addon.js'
import { checkBytes } from './arguments.js'
import { errnoName } from './native-errno.js'

/** Places of a table, lowest first. */
class Places {
  readonly #free: number[]

  constructor(count: number) {
    this.#free = Array.from({ length: count }, (_, index) => count - 1 - index)
  }

  take(): number | undefined {
    return this.#free.pop()
  }

  giveBack(index: number): void {
    this.#free.push(index)
    this.#free.sort((a, b) => b - a)
  }
}

/** Files that a ring knows by a number of its own, so that no operation has to look its descriptor up. */
export class RegisteredFiles {
  readonly #addon: RingAddon
  readonly #ring: NativeRing
  readonly #places: Places

  constructor(addon: RingAddon, ring: NativeRing, count: number) {
    this.#addon = addon
    this.#ring = ring
    this.#places = new Places(ring.fileTableRefusal === 0 ? count : 0)
  }

  /** The file's index, or -1 when it is used without. */
  add(fd: number): number {
    const index = this.#places.take()
    if (index === undefined) return -1
    if (this.#addon.setRingFile(this.#ring.id, index, fd) >= 0) return index
    this.#places.giveBack(index)
    return -1
  }

  /** Before the descriptor is closed: the table keeps the file open otherwise. */
  remove(index: number): void {
    if (index < 0) return
    this.#addon.setRingFile(this.#ring.id, index, -1)
    this.#places.giveBack(index)
  }
}

/** What became of memory that was to be registered. */
export interface BufferRegistration {
  /** For each, in the order given: `'registered'`, or why it is used without. */
  readonly outcomes: readonly (
    | 'registered'
    | {
        /** The system's name of the refusal, such as `ENOMEM` (RLIMIT_MEMLOCK), or `'full'` when the table is. */
        readonly refused: string
      }
  )[]
  readonly registeredCount: number
  /** Unpins the memory. What is with the kernel still completes. A second call is `HOLT_RING`. */
  release(): void
}

interface Entry {
  readonly index: number
  readonly bytes: Uint8Array
}

/** Memory that a ring has pinned, found again by address (in the addon). */
export class RegisteredBuffers {
  readonly #addon: RingAddon
  readonly #ring: NativeRing
  readonly #places: Places
  readonly #entries = new Set<Entry>()

  constructor(addon: RingAddon, ring: NativeRing, count: number) {
    this.#addon = addon
    this.#ring = ring
    this.#places = new Places(ring.bufferTableRefusal === 0 ? count : 0)
  }

  register(buffers: readonly Uint8Array[]): BufferRegistration {
    this.#check(buffers)
    const mine: Entry[] = []
    const outcomes = buffers.map((bytes): 'registered' | { readonly refused: string } => {
      const refusal = this.#ring.bufferTableRefusal
      if (refusal !== 0) return { refused: errnoName(refusal) }
      const index = this.#places.take()
      if (index === undefined) return { refused: 'full' }
      const result = this.#addon.setRingBuffer(this.#ring.id, index, bytes)
      if (result < 0) {
        this.#places.giveBack(index)
        return { refused: errnoName(result) }
      }
      const entry = { index, bytes }
      this.#entries.add(entry)
      mine.push(entry)
      return 'registered'
    })
    let released = false
    return {
      outcomes,
      registeredCount: mine.length,
      release: () => {
        if (released) throw new HoltError('HOLT_RING', 'this memory was unregistered already')
        released = true
        for (const entry of mine) {
          this.#addon.setRingBuffer(this.#ring.id, entry.index, undefined)
          this.#entries.delete(entry)
          this.#places.giveBack(entry.index)
        }
      },
    }
  }

  #check(buffers: unknown): asserts buffers is readonly Uint8Array[] {
    if (!Array.isArray(buffers)) throw invalid('buffers to register must come in an array')
    const list: readonly unknown[] = buffers
    const taken: Uint8Array[] = [...this.#entries].map(({ bytes }) => bytes)
    for (const bytes of list) {
      checkBytes(bytes)
      if (bytes.byteLength === 0) throw invalid('memory to register must not be empty')
      if (!(bytes.buffer instanceof SharedArrayBuffer)) {
        throw invalid('memory to register must lie in a SharedArrayBuffer: other memory can be detached')
      }
      if (taken.some((other) => overlap(other, bytes)))
        throw invalid('memory to register overlaps registered memory')
      taken.push(bytes)
    }
  }
}

function overlap(a: Uint8Array, b: Uint8Array): boolean {
  return (
    a.buffer === b.buffer &&
    a.byteOffset < b.byteOffset + b.byteLength &&
    b.byteOffset < a.byteOffset + a.byteLength
  )
}

function invalid(message: string): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', message)
}
