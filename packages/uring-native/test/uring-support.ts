import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { isHoltError } from '@holt/errors'

import { loadAddon } from '../src/addon.js'
import type { NativeAddon } from '../src/addon.js'
import { UringIo } from '../src/uring-io.js'

/** Why there is no UringIo to test on this machine, or undefined: a machine without a compiler or io_uring is legal. */
export const unavailable: string | undefined = (() => {
  try {
    void UringIo.create().dispose()
    return undefined
  } catch (error) {
    if (isHoltError(error, 'HOLT_UNSUPPORTED')) return error.message
    throw error
  }
})()

export function addonForTests(): NativeAddon {
  const loaded = loadAddon()
  if ('reason' in loaded) throw new Error(loaded.reason)
  return loaded.addon
}

/** Zeroed memory at an address that is a multiple of 4096. */
export function alignedBytes(lengthBytes: number): Uint8Array {
  const memory = new Uint8Array(new SharedArrayBuffer(lengthBytes + 4096))
  const misaligned = addonForTests().addressOf(memory) % 4096
  const start = misaligned === 0 ? 0 : 4096 - misaligned
  return memory.subarray(start, start + lengthBytes)
}

/** Runs a test with a directory of its own. */
export async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'holt-uring-'))
  try {
    await body(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
