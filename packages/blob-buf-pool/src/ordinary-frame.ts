import { HoltError } from '@holt/errors'
import { PAGE_BYTES } from './frame.js'

/**
 * A frame of ordinary shared memory, for when a slab has none left: aligned like a slot of the slab, and followed by a
 * word of its own that says whether it is on its way to another thread.
 *
 * ```
 * 0           aligned                    + frame size                   length - 8
 * ┌───────────┬──────────────────────────┬──────────────────────────────┬────────┐
 * │ left over │ the frame                │ left over                    │ ticket │
 * └───────────┴──────────────────────────┴──────────────────────────────┴────────┘
 * ```
 */
export function ordinaryFrame(
  frameBytes: number,
  addressOf: ((bytes: Uint8Array) => number) | undefined,
): Uint8Array<SharedArrayBuffer> {
  let buffer: SharedArrayBuffer
  try {
    buffer = new SharedArrayBuffer(frameBytes + BESIDE_BYTES)
  } catch (cause) {
    throw new HoltError('HOLT_OUT_OF_MEMORY', `no ${String(frameBytes)} bytes of memory for a frame`, {
      cause,
    })
  }
  const misaligned = addressOf === undefined ? 0 : addressOf(new Uint8Array(buffer)) % PAGE_BYTES
  return new Uint8Array(buffer, misaligned === 0 ? 0 : PAGE_BYTES - misaligned, frameBytes)
}

export function isOrdinaryFrame(bytes: unknown, frameBytes: number): bytes is Uint8Array {
  return (
    bytes instanceof Uint8Array &&
    bytes.buffer instanceof SharedArrayBuffer &&
    bytes.length === frameBytes &&
    bytes.buffer.byteLength === frameBytes + BESIDE_BYTES &&
    bytes.byteOffset < PAGE_BYTES
  )
}

export function ticketOf(frame: Uint8Array): Int32Array {
  return new Int32Array(frame.buffer, frame.buffer.byteLength - TICKET_BYTES, 1)
}

const TICKET_BYTES = 8
const BESIDE_BYTES = PAGE_BYTES + TICKET_BYTES
