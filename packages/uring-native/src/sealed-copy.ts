import { loadAddon } from './addon.js'

/**
 * Copies records into a mapped file and writes the two checksums of each on the way: one call of the addon without
 * arguments, which takes all parts from where they lie and reads nothing back of what it has written.
 *
 * ```
 *   staging area   0              offset in the target, in bytes
 *                  4              total bytes of the record, a multiple of 8
 *                  8              bytes of the body that are staged
 *                  12, 16, 20     first piece: number of its source, where it begins there, how many bytes; 0 for none
 *                  24, 28, 32     second piece, likewise
 *                  64             head, 24 bytes
 *                  92             beginning of the body
 *
 *   record         0      24        28                                                     total - 4    total
 *                  | head | its CRC | body: staged part | first piece | second piece | 0 … | its CRC    |
 * ```
 *
 * All are words of 32 bits, little-endian. Each of the three parts of a body is padded with zeros to a multiple of 4. Both
 * CRC-32C start from a salt XOR offset.
 */
export interface SealedCopy {
  readonly staging: ArrayBuffer
  /** Throws a `RangeError`, having copied nothing, without a target, or when a part leaves its source or the record its target. */
  readonly copy: () => void
  /**
   * From now on copies go there: the whole of what `Io.map` gave. False, and nothing has changed, for any other memory. The
   * file stays mapped until copies go elsewhere or {@link letGo}, whoever unmaps it.
   */
  aim(target: Uint8Array, headSalt: number, bodySalt: number): boolean
  /** Pieces may be taken from there, until another source gets its number. False if the memory cannot be held. */
  setSource(number: number, words: Uint32Array): boolean
  /** Copies go nowhere, and there are no sources. */
  letGo(): void
}

/** Where the head begins in the staging area. */
export const STAGED_AT = 64
/** The longest record that can be staged whole. */
export const MOST_STAGED_BYTES = 1_024
/** Numbers of sources are below it. */
export const SEALED_COPY_SOURCES = 8

/** `undefined` without the addon. */
export function createSealedCopy(): SealedCopy | undefined {
  const loaded = loadAddon()
  return 'addon' in loaded ? loaded.addon.createSealedCopy(false) : undefined
}
