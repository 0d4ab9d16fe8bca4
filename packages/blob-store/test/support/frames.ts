import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ENVELOPE_BYTES, FRAME_BYTES } from '@holt/blob-buf-pool'
import { isHoltError } from '@holt/errors'
import { onTestFinished } from 'vitest'

/** A frame whose owner's bytes all depend on `seed`. */
export function frameOf(seed: number): Uint8Array {
  const frame = new Uint8Array(new SharedArrayBuffer(FRAME_BYTES))
  frame.fill(seed & 0xff, ENVELOPE_BYTES)
  frame[ENVELOPE_BYTES] = seed >>> 8
  return frame
}

export function emptyFrame(): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(FRAME_BYTES))
}

/** What {@link frameOf} was given. */
export function seedOf(frame: Uint8Array): number {
  return (frame[ENVELOPE_BYTES] << 8) | frame[FRAME_BYTES - 1]
}

/** A directory that is removed when the test ends. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'holt-blob-store-'))
  onTestFinished(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  return directory
}

/** The code of what a call throws or rejects with; `undefined` when it succeeds. */
export async function codeOf(run: () => unknown): Promise<string | undefined> {
  try {
    await run()
  } catch (error) {
    return isHoltError(error) ? error.code : String(error)
  }
  return undefined
}
