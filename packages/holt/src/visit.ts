import { COMMON_PREFIX, Cursor, type CursorOptions, END } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { Engine } from './engine.js'
import type { Version } from './entries.js'
import { FramePin } from './frame-pin.js'
import type { KeyCodec } from './key-encoding.js'
import { TREE_ID_BYTES } from './limits.js'

/** Looks at the bytes of a value, which are valid until it returns. What it returns is of no account; no promise. */
export type ValueVisitor = (value: Uint8Array, version: Version) => unknown

/** Looks at an entry of a walk, which is valid until it returns. `false` ends the walk, anything else goes on; no promise. */
export type EntryVisitor<K> = (entry: VisitedEntry<K>) => unknown

/**
 * Runs `look` over a value where it lies. While it runs, the frame is pinned and writes wait: a write that `look` makes
 * is applied behind it, so the bytes under it never change.
 */
export function visitFound(engine: Engine, look: ValueVisitor): void {
  const { index } = engine
  const { foundBytes, foundOffset, foundLength } = index
  const version = index.foundVersion as Version
  let value: Uint8Array
  if (index.foundLarge) {
    value = new Uint8Array(foundLength)
    index.readFound(value, 0, 0, foundLength)
  } else value = foundBytes.subarray(foundOffset, foundOffset + foundLength)
  const pin = new FramePin(engine.frames)
  engine.holdWrites()
  pin.hold(foundBytes, foundOffset)
  try {
    refuseAsynchronous(look(value, version))
  } finally {
    pin.release()
    engine.releaseWrites()
  }
}

/** Runs `look` over up to `limit` entries of a walk, as {@link visitFound} does for one value. Returns how many it was. */
export function visitEntries<K>(
  engine: Engine,
  options: CursorOptions,
  keys: KeyCodec<K>,
  limit: number,
  look: EntryVisitor<K>,
): number {
  const cursor = new Cursor(engine.index, options)
  const pin = new FramePin(engine.frames)
  const entry = new VisitedEntry(cursor, keys)
  let visited = 0
  engine.holdWrites()
  try {
    while (visited < limit) {
      engine.assertOpen()
      const step = cursor.next()
      if (step === END) break
      if (step !== COMMON_PREFIX) pin.hold(cursor.valueBytes, cursor.valueOffset)
      entry.isPrefix = step === COMMON_PREFIX
      visited++
      const answer = look(entry)
      if (answer === false) break
      if (answer !== undefined) refuseAsynchronous(answer)
    }
  } finally {
    entry.end()
    pin.release()
    engine.releaseWrites()
  }
  return visited
}

/**
 * An entry where it lies: one object for a whole walk, good inside the callback only. It decodes and copies nothing
 * that is not asked for. The byte views are of shared memory: read them, never write, and keep copies.
 */
export class VisitedEntry<K> {
  readonly #cursor: Cursor
  readonly #keys: KeyCodec<K>
  #keyBuffer = Buffer.alloc(0)
  #keySource: Uint8Array | undefined
  #ended = false
  /** Whether it stands for all keys that begin with {@link key}. */
  isPrefix = false

  /** @internal */
  constructor(cursor: Cursor, keys: KeyCodec<K>) {
    this.#cursor = cursor
    this.#keys = keys
  }

  /** The key, or common prefix with its delimiter. */
  get key(): K {
    return this.#keys.read(this.#keyMemory(), TREE_ID_BYTES, this.#cursor.keyLength)
  }

  /** The bytes of {@link key}. */
  get keyBytes(): Uint8Array {
    const memory = this.#keyMemory()
    return new Uint8Array(
      memory.buffer,
      memory.byteOffset + TREE_ID_BYTES,
      this.#cursor.keyLength - TREE_ID_BYTES,
    )
  }

  /** The value's bytes, a copy if it lies in frames of its own; none for a common prefix. */
  get value(): Uint8Array {
    this.#assertValid()
    const { valueBytes, valueOffset, valueLength, valueLarge } = this.#cursor
    if (valueLarge) {
      const copy = new Uint8Array(valueLength)
      this.#cursor.readValue(copy, 0, 0, valueLength)
      return copy
    }
    return valueBytes.subarray(valueOffset, valueOffset + valueLength)
  }

  get valueLength(): number {
    this.#assertValid()
    return this.#cursor.valueLength
  }

  /** 0 for a common prefix. */
  get version(): Version {
    this.#assertValid()
    return this.#cursor.version as Version
  }

  /** @internal The walk is over: whoever kept the entry learns that it is none any more. */
  end(): void {
    this.#ended = true
  }

  #keyMemory(): Buffer {
    this.#assertValid()
    const { key } = this.#cursor
    // The cursor's key buffer is replaced when it grows.
    if (this.#keySource !== key) {
      this.#keySource = key
      this.#keyBuffer = Buffer.from(key.buffer as ArrayBuffer, key.byteOffset, key.length)
    }
    return this.#keyBuffer
  }

  #assertValid(): void {
    if (this.#ended)
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'an entry of a visit is valid inside the callback only')
  }
}

function refuseAsynchronous(answer: unknown): void {
  if (typeof answer !== 'object' || answer === null || !('then' in answer)) return
  // Whatever it does later comes too late; its failure must not go unheard either.
  Promise.resolve(answer).catch(() => undefined)
  throw new HoltError(
    'HOLT_INVALID_ARGUMENT',
    'the callback of a visit is asynchronous; what it looks at is valid until it returns',
  )
}
