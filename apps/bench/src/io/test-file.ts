import fs from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Slab } from '@holt/blob-buf-pool'
import { UringIo, addressOfBytes } from '@holt/uring-native'
import type { Io, IoFile } from '@holt/uring-native'

export type CacheMode = 'direct' | 'buffered'

export const MODES: readonly CacheMode[] = ['direct', 'buffered']

const CHUNK_BYTES = 1 << 20

/** A directory that is removed again, also when the run is interrupted. */
export function makeWorkDirectory(parent: string | undefined): string {
  const directory = fs.mkdtempSync(join(parent ?? tmpdir(), 'holt-bench-io-'))
  process.once('exit', () => {
    fs.rmSync(directory, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  return directory
}

/** Writes the file that is measured: no holes, no zeros, and stable, so that nothing is left to be written later. */
export async function makeTestFile(directory: string, sizeBytes: number): Promise<string> {
  const path = join(directory, 'data')
  const io = UringIo.create()
  const file = await io.open(path, { access: 'readwrite', create: true })
  const chunk = new Uint8Array(CHUNK_BYTES)
  for (let i = 0; i < chunk.length; i++) chunk[i] = (i * 7 + (i >> 9)) & 255
  for (let start = 0; start < sizeBytes; start += 16 * CHUNK_BYTES) {
    const end = Math.min(start + 16 * CHUNK_BYTES, sizeBytes)
    const parts = []
    for (let at = start; at < end; at += CHUNK_BYTES)
      parts.push({ offsetBytes: at, bytes: chunk.subarray(0, Math.min(CHUNK_BYTES, end - at)) })
    await io.writeMany(file, parts)
  }
  await io.sync(file)
  await io.dispose()
  return path
}

export interface AlignedBuffers {
  readonly buffers: readonly Uint8Array[]
  /** What a ring registers, so that it knows all of them. */
  readonly ranges: readonly Uint8Array[]
}

/** Buffers at addresses that direct transfers take, each touched, so that no turn pays for its first page faults. */
export function alignedBuffers(count: number, lengthBytes: number): AlignedBuffers {
  const slab = Slab.create({ frameBytes: lengthBytes, frameCount: count, addressOf: addressOfBytes })
  const buffers = Array.from({ length: count }, (_, index) => slab.bytes(slab.lease()).fill(index & 255))
  return { buffers, ranges: slab.segments.map(({ u8 }) => u8) }
}

/** The file as node:fs opens it, or undefined where the file system takes no direct transfers. */
export async function openByNode(
  path: string,
  mode: CacheMode,
  access: 'read' | 'readwrite',
): Promise<FileHandle | undefined> {
  const { O_RDONLY, O_RDWR, O_DIRECT } = fs.constants
  const flags = (access === 'read' ? O_RDONLY : O_RDWR) | (mode === 'direct' ? O_DIRECT : 0)
  try {
    return await open(path, flags)
  } catch (error) {
    if (mode === 'direct' && error instanceof Error && 'code' in error && error.code === 'EINVAL')
      return undefined
    throw error
  }
}

export function openByHolt(
  io: Io,
  path: string,
  mode: CacheMode,
  access: 'read' | 'readwrite',
): Promise<IoFile> {
  return io.open(path, { access, direct: mode === 'direct', registered: true })
}

/** Numbers below a bound, the same ones at each run: the generator xorshift32. */
export function randomBelow(bound: number, seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % bound
  }
}
