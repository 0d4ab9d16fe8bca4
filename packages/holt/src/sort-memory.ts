import { adviseHugePages } from '@holt/uring-native'

/** The first pieces are small: most loads need no more. Each is so many times as long as the one before. */
const FIRST_BYTES = 2 ** 20
const GROWTH = 8
/** Of this length on, a piece is made of pages of 2 MiB where the system has them: sorting goes through it at random. */
const HUGE_BYTES = 2 ** 23

/** One piece of memory, filled from its beginning. */
export class SortChunk {
  readonly words: Uint32Array
  readonly view: DataView
  usedWords = 0

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Uint32Array(buffer)
    this.view = new DataView(buffer)
  }
}

/**
 * Memory of what has ended, until the collector takes it: who comes next need not have it made anew.
 */
let left: WeakRef<SharedArrayBuffer[]> | undefined

/**
 * Gives out memory in pieces that grow up to `chunkBytes` each. It is shared memory although nobody shares it: what an
 * ArrayBuffer holds counts for the collector, which would mark all of the caller's entries for it, again and again.
 */
export class SortMemory {
  readonly #chunkBytes: number
  #nextBytes: number
  readonly #taken: SharedArrayBuffer[] = []
  readonly #left: SharedArrayBuffer[]

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes
    this.#nextBytes = Math.min(FIRST_BYTES, chunkBytes)
    this.#left = left?.deref() ?? []
    left = undefined
  }

  /** A piece of at least so many words, whose bytes are whatever they were. */
  take(words: number): SortChunk {
    const bytes = Math.max(this.#nextBytes, words * 4)
    const at = this.#left.findIndex(({ byteLength }) => byteLength === bytes)
    let buffer: SharedArrayBuffer
    if (at < 0) {
      buffer = new SharedArrayBuffer(bytes)
      if (bytes >= HUGE_BYTES) adviseHugePages?.(new Uint8Array(buffer))
    } else {
      buffer = this.#left.splice(at, 1)[0]
    }
    this.#taken.push(buffer)
    this.#nextBytes = Math.min(this.#nextBytes * GROWTH, this.#chunkBytes)
    return new SortChunk(buffer)
  }

  /** Nobody looks at any piece any more. */
  end(): void {
    left = new WeakRef([...this.#taken.splice(0), ...this.#left.splice(0)])
  }
}
