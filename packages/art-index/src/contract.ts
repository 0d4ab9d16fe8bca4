import type { BlobId } from '@holt/blob-buf-pool'
import type { UnlinkedFrames } from './unlinked-frames.js'

/**
 * The index's face. See `docs/ARCHITECTURE.md` for the words.
 *
 * Keys are passed as the first `keyLength` bytes of {@link ArtIndexContract.key}, a scratch buffer that the index owns,
 * so that a lookup by string allocates nothing: callers encode into it. Every method may overwrite the scratch buffer's
 * bytes beyond `keyLength`, none changes those before.
 *
 * A method that throws has changed nothing.
 */
export interface ArtIndexContract {
  /** Scratch for the key of the next call: `MAX_INDEX_KEY_BYTES` bytes, at a multiple of 4 in its buffer. */
  readonly key: Uint8Array

  /** Looks a key up. When true the `found…` fields say where it is, until the next call of any method. */
  find(keyLength: number): boolean
  /** Bytes of the segment in which the found value lies; empty when it is large. */
  foundBytes: Uint8Array
  foundOffset: number
  /** The whole value's, also when it is large. */
  foundLength: number
  foundVersion: number
  /** The found value lies in frames of its own: {@link ArtIndexContract.readFound} copies out of them. */
  foundLarge: boolean
  /**
   * Copies bytes `from … from + length` of the found value to `target` at `targetOffset`, frame by frame. Valid as long
   * as the `found…` fields are, and over other calls of its own. Throws `FrameAbsent` as `FrameSource.fault` does (load
   * the frame and call again: the fields stay), `HOLT_INVALID_ARGUMENT` for bytes outside value or target.
   */
  readFound(target: Uint8Array, targetOffset: number, from: number, length: number): void

  /**
   * Puts value `source[sourceOffset … + sourceLength)`. Returns whether the key is new. `version` is a commit seq, a
   * whole number up to 2^53. Throws `FrameAbsent` (see FrameSource) before any change.
   */
  put(
    keyLength: number,
    source: Uint8Array,
    sourceOffset: number,
    sourceLength: number,
    version: number,
  ): boolean
  /** Removes a key. Returns whether it was there. Throws as `put` does. */
  delete(keyLength: number): boolean
  /**
   * Has every frame that `put` or `delete` of this key would touch made resident; throws `FrameAbsent` if one is not
   * and may not be waited for. After it, and until another frame is faulted in, `put` and `delete` of this key do not
   * throw.
   */
  touch(keyLength: number): void

  /**
   * Removes every key that begins with these bytes, and returns whether there was one. Costs the depth and at most one
   * frame: frames wholly below the prefix are only unlinked, and wait in {@link unlinked} to be given back. {@link touch}
   * of the prefix makes what it needs resident. Throws as `put` does.
   */
  deletePrefix(prefixLength: number): boolean
  /**
   * Puts all keys that begin with `from` below `to` instead, with their values and versions; keys below `to` go. False,
   * having changed nothing, when there is nothing below `from`. Costs two descents and at most one frame; {@link touch}
   * of both prefixes and {@link restBoundBytes} of `from` make what it needs resident. No key may become too long by it,
   * which is the caller's to see to, by {@link restBoundBytes}. Throws `HOLT_INVALID_ARGUMENT` when one of the two begins
   * with the other, and as `put` does. The two are not views of {@link key}.
   */
  movePrefix(from: Uint8Array, to: Uint8Array): boolean
  /**
   * No key that begins with these bytes has more bytes behind them; -1 when there is none. An upper bound: what it costs
   * to make it tight is spent only where it exceeds `enoughBytes`. Throws as `FrameSource.fault` does.
   */
  restBoundBytes(prefixLength: number, enoughBytes?: number): number
  /**
   * Frames that the tree has let go of, alone or as roots of subtrees. They belong to the tree's state: an image without them
   * leaks them.
   */
  readonly unlinked: UnlinkedFrames
  /** Roots of what bulk loads under way have built, which no tree reaches yet. An image names them as unlinked, or leaks them. */
  readonly building: readonly BlobId[]
  /**
   * Gives `unlinked.next` back; its child frames take its place. False when it was not given back, as a view turned out to see
   * it. Throws as `FrameSource.fault` does when that frame is absent, having changed nothing.
   */
  freeNextUnlinked(): boolean

  /** Goes up with every change of the tree: a cursor that paused compares it. */
  readonly changes: number
}

export interface CursorOptions {
  /** Only keys that begin with these bytes. */
  readonly prefix?: Uint8Array | undefined
  readonly gt?: Uint8Array | undefined
  readonly gte?: Uint8Array | undefined
  readonly lt?: Uint8Array | undefined
  readonly lte?: Uint8Array | undefined
  readonly reverse?: boolean | undefined
  /**
   * One or more bytes. A key that holds them after `prefix` is not returned by itself: all keys that share their bytes
   * up to and with the delimiter's first occurrence are one entry, returned once, at its place, at a cost that does not
   * depend on their number.
   */
  readonly delimiter?: Uint8Array | undefined
}

/** What {@link CursorContract.next} came to. */
export const END = 0
export const KEY = 1
export const COMMON_PREFIX = 2
export type CursorStep = typeof END | typeof KEY | typeof COMMON_PREFIX

/**
 * An ordered walk. It holds nothing between steps: the tree may change, frames may come and go. Keys that are there
 * during the whole walk are returned exactly once, in byte order (descending with `reverse`); a key put or deleted
 * meanwhile may be returned or not. After END it stays at END.
 */
export interface CursorContract {
  next(): CursorStep
  /** The key, or common prefix with its delimiter, of the last step: the first `keyLength` bytes. */
  readonly key: Uint8Array
  readonly keyLength: number
  /** After KEY, where its value is, until the next call of any method of the index or a cursor; empty when it is large. */
  readonly valueBytes: Uint8Array
  readonly valueOffset: number
  /** The whole value's, also when it is large. */
  readonly valueLength: number
  readonly version: number
  /** The value lies in frames of its own: {@link CursorContract.readValue} copies out of them. */
  readonly valueLarge: boolean
  /** As `ArtIndexContract.readFound`, for the entry that the cursor is at. */
  readValue(target: Uint8Array, targetOffset: number, from: number, length: number): void
}
