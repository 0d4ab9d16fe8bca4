import { corruptNode } from './corruption.js'
import { bodyBytes, NODE16, NODE256, NODE4, NODE48 } from './layout.js'
import type { FrameReader } from './readable-tree.js'

/** The children of inner nodes, for walks of whole frames. */
export class NodeChildren {
  readonly #reader: FrameReader

  constructor(reader: FrameReader) {
    this.#reader = reader
  }

  /** Byte offset, in the segment, of an inner node's prefix. Throws `HOLT_CORRUPT` when `ref` is no inner node. */
  prefixOffset(ref: number): number {
    const node = this.#reader.nodeOffset(ref)
    const type = this.#reader.u32[node >>> 2] & 7
    if (type < NODE4 || type > NODE256)
      throw corruptNode(this.#reader.blob, ref, `an inner node was expected, found type ${String(type)}`)
    return node + bodyBytes(type)
  }

  /** The child under `byte`, or 0. */
  child(ref: number, byte: number): number {
    const { u8, u16, u32, blob } = this.#reader
    const node = this.#reader.nodeOffset(ref)
    const word = u32[node >>> 2]
    const type = word & 7
    switch (type) {
      case NODE4:
      case NODE16: {
        const places = type === NODE4 ? 4 : 16
        const count = Math.min((word >>> 3) & 1_023, places)
        for (let i = 0; i < count; i++) {
          if (u8[node + 8 + i] === byte) return u16[((node + 8 + places) >>> 1) + i]
        }
        return 0
      }
      case NODE48: {
        const position = u8[node + 8 + byte]
        if (position > 48) throw corruptNode(blob, ref, `position ${String(position)} in a node of 48`)
        return position === 0 ? 0 : u16[((node + 264) >>> 1) + position - 1]
      }
      case NODE256:
        return u16[((node + 8) >>> 1) + byte]
      default:
        throw corruptNode(blob, ref, `an inner node was expected, found type ${String(type)}`)
    }
  }

  /** Adds the refs of all children, and of the terminal, to `refs`, in no particular order. */
  pushAll(ref: number, refs: number[]): void {
    const { u16, u32, base, frameBytes } = this.#reader
    const prefix = this.prefixOffset(ref)
    if (prefix > base + frameBytes) throw corruptNode(this.#reader.blob, ref, 'a node reaches past its frame')
    const node = this.#reader.nodeOffset(ref)
    const word = u32[node >>> 2]
    const type = word & 7
    const count = (word >>> 3) & 1_023
    const terminal = u16[(node >>> 1) + 2]
    if (terminal !== 0) refs.push(terminal)
    if (type === NODE256) {
      const children = (node + 8) >>> 1
      for (let byte = 0; byte < 256; byte++) {
        if (u16[children + byte] !== 0) refs.push(u16[children + byte])
      }
      return
    }
    // Node48 fills its positions without gaps, so its refs can be read without its bytes.
    const places = type === NODE4 ? 4 : type === NODE16 ? 16 : 48
    if (count > places)
      throw corruptNode(this.#reader.blob, ref, `${String(count)} children in a node of ${String(places)}`)
    const children = (type === NODE48 ? node + 264 : node + 8 + places) >>> 1
    for (let i = 0; i < count; i++) refs.push(u16[children + i])
  }
}
