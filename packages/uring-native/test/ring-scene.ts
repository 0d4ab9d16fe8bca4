import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

import { isHoltError } from '@holt/errors'
import { expect } from 'vitest'

import type { RingCompletion, RingHandle, RingOpenOptions, RingOptions } from '../src/ring-contract.js'
import type { RingFile } from '../src/ring-files.js'
import { Ring } from '../src/ring.js'
import { disarmFaults } from '../src/testing-faults.js'

import { inDirectory } from './uring-support.js'

export const PAGE = 4096

export interface Scene {
  readonly ring: Ring
  readonly path: (name: string) => string
  /** Polls until this handle has completed, and takes its completion. */
  readonly done: (handle: RingHandle) => Promise<RingCompletion>
  readonly open: (name: string, options?: Partial<RingOpenOptions>) => Promise<RingFile>
  /** A pipe, open for both: a read of it waits until something is written. */
  readonly pipe: () => Promise<RingFile>
}

/** Runs a test with a ring and a directory of its own; what is in flight at its end is cancelled. */
export async function scene(options: RingOptions, body: (scene: Scene) => Promise<void>): Promise<void> {
  await inDirectory(async (directory) => {
    const ring = Ring.create(options)
    const path = (name: string): string => join(directory, name)
    const done = (handle: RingHandle): Promise<RingCompletion> => awaited(ring, handle)
    const open = async (name: string, more: Partial<RingOpenOptions> = {}): Promise<RingFile> => {
      const handle = {}
      expect(ring.open(handle, path(name), { access: 'readwrite', create: true, ...more }).queued).toBe(true)
      return opened(await done(handle))
    }
    const pipe = (): Promise<RingFile> => {
      execFileSync('mkfifo', [path('pipe')])
      return open('pipe', { create: false })
    }
    try {
      await body({ ring, path, done, open, pipe })
    } finally {
      disarmFaults()
      await ring.dispose({ cancel: true })
    }
  })
}

export async function awaited(ring: Ring, handle: RingHandle): Promise<RingCompletion> {
  for (;;) {
    const completion = ring.take(handle)
    if (completion !== undefined) return completion
    expect(await ring.park({ timeoutMs: 10_000 })).toBe('ready')
    ring.poll()
  }
}

export function opened(completion: RingCompletion): RingFile {
  if (completion.error !== undefined) throw completion.error
  if (completion.op !== 'open') throw new Error(`completed ${completion.op}`)
  return completion.file
}

export const ok = (handle: RingHandle, op: string): unknown => ({ handle, op, error: undefined })

export const failed = (code: string, errno?: string): unknown =>
  expect.objectContaining({
    error: expect.objectContaining(errno === undefined ? { code } : { code, errno }) as unknown,
  })

export const thrown = (code: string): Error => expect.objectContaining({ code }) as Error

/** The code of what is thrown. */
export function codeOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (isHoltError(error)) return error.code
    throw error
  }
  return 'nothing thrown'
}
