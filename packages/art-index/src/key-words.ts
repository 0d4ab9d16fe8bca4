/*
 * Bytes of a key against bytes in a frame, word by word. Bytes in frames (leaf rests, prefixes) begin on a multiple of 4;
 * those of the key begin anywhere, so each word of the key is put together from two neighbours:
 *
 *   key words    | a b c d | e f g h |      depth 1, shift 8:  (abcd >>> 8) | (efgh << 24)  =  b c d e
 *
 * A shift by 32 would be one by 0 in JavaScript, hence `<< (31 - shift) << 1`. The key's buffer ends two words after the
 * longest key.
 */

/** Whether the `length` bytes from word `at` on are those of the key from byte `depth` on. */
export function sameBytes(
  words: Uint32Array,
  at: number,
  keyWords: Uint32Array,
  depth: number,
  length: number,
): boolean {
  const shift = (depth & 3) << 3
  const back = 31 - shift
  let k = depth >>> 2
  let low = keyWords[k] | 0
  for (; length >= 4; length -= 4) {
    const high = keyWords[++k] | 0
    if (((low >>> shift) | ((high << back) << 1)) !== (words[at++] | 0)) return false
    low = high
  }
  if (length === 0) return true
  const high = keyWords[k + 1] | 0
  const differing = ((low >>> shift) | ((high << back) << 1)) ^ words[at]
  return differing << (32 - (length << 3)) === 0
}

/** How many of the `length` bytes from word `at` on are those of the key from byte `depth` on, up to the first other. */
export function commonBytes(
  words: Uint32Array,
  at: number,
  keyWords: Uint32Array,
  depth: number,
  length: number,
): number {
  const shift = (depth & 3) << 3
  const back = 31 - shift
  let k = depth >>> 2
  let low = keyWords[k] | 0
  for (let done = 0; done < length; done += 4) {
    const high = keyWords[++k] | 0
    const differing = ((low >>> shift) | ((high << back) << 1)) ^ words[at++]
    if (differing !== 0) {
      const equal = done + ((31 - Math.clz32(differing & -differing)) >>> 3)
      return equal < length ? equal : length
    }
    low = high
  }
  return length
}

/** Writes `length` bytes of the key from byte `depth` on to word `at`, padded with zeros to whole words. */
export function writeKeyBytes(
  words: Uint32Array,
  at: number,
  keyWords: Uint32Array,
  depth: number,
  length: number,
): void {
  const shift = (depth & 3) << 3
  const back = 31 - shift
  let k = depth >>> 2
  let low = keyWords[k] | 0
  for (; length >= 4; length -= 4) {
    const high = keyWords[++k] | 0
    words[at++] = (low >>> shift) | ((high << back) << 1)
    low = high
  }
  if (length !== 0) {
    const high = keyWords[k + 1] | 0
    words[at] = ((low >>> shift) | ((high << back) << 1)) & ((1 << (length << 3)) - 1)
  }
}
