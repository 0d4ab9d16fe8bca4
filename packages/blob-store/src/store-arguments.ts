import { type BlobId, FRAME_BYTES, PAGE_BYTES } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { type BlobWrite, MAX_NOTE_BYTES } from './blob-store.js'

/** What every store refuses, with `HOLT_INVALID_ARGUMENT`, before it does anything. */
export function assertBlobId(id: BlobId, capacity: number): void {
  if (!Number.isInteger(id) || id < 1 || id >= capacity) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `blob id ${String(id)}; 1 to ${String(capacity - 1)} are possible here`,
    )
  }
}

export function assertFrameBytes(bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array) || bytes.byteLength !== FRAME_BYTES) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `${bytes instanceof Uint8Array ? `${String(bytes.byteLength)} bytes` : typeof bytes} for a frame; a Uint8Array of ${String(FRAME_BYTES)} is wanted`,
    )
  }
}

export function assertRange(offsetBytes: number, into: Uint8Array): void {
  const end = offsetBytes + into.byteLength
  if (
    !Number.isInteger(offsetBytes) ||
    offsetBytes < 0 ||
    offsetBytes % PAGE_BYTES !== 0 ||
    into.byteLength === 0 ||
    into.byteLength % PAGE_BYTES !== 0 ||
    end > FRAME_BYTES
  ) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `a range of ${String(into.byteLength)} bytes at ${String(offsetBytes)}; whole pages of ${String(PAGE_BYTES)} within a frame are wanted`,
    )
  }
}

export function assertNote(note: Uint8Array): void {
  if (!(note instanceof Uint8Array) || note.byteLength > MAX_NOTE_BYTES) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `a note of ${note instanceof Uint8Array ? `${String(note.byteLength)} bytes` : typeof note}; a Uint8Array of at most ${String(MAX_NOTE_BYTES)} is wanted`,
    )
  }
}

/** The frames to write, each id once: the last of several wins. */
export function lastOfEach(writes: readonly BlobWrite[], capacity: number): Map<BlobId, Uint8Array> {
  const frames = new Map<BlobId, Uint8Array>()
  for (const { id, frame } of writes) {
    assertBlobId(id, capacity)
    assertFrameBytes(frame)
    frames.set(id, frame)
  }
  return frames
}
