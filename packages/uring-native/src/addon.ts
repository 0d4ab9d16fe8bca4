import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { HoltError } from '@holt/errors'

import type { SealedCopy } from './sealed-copy.js'

/** A ring as {@link NativeAddon.createRing} hands it out. */
export interface NativeRing {
  readonly id: number
  /** How many operations can be outstanding: the kernel may have clamped what was asked for. */
  readonly entries: number
  /** The length of the completion queue. */
  readonly completionEntries: number
  /** The IORING_SETUP flags the kernel took. */
  readonly setupFlags: number
  /** Zero, or the negative errno with which the kernel refused what was asked for; the ring works without it. */
  readonly submissionThreadRefusal: number
  readonly fileTableRefusal: number
  readonly bufferTableRefusal: number
  /** The opcodes that the kernel knows (IORING_REGISTER_PROBE). */
  readonly opcodes: readonly number[]
  /** The buffers of the operation in slot `s`, at `2 s` and `2 s + 1`. What is here stays alive. */
  readonly held: (Uint8Array | undefined)[]
  /**
   * Ten numbers a command: opcode, slot, fd, offset, start or length, length or mode or mask, flags, flags of the
   * entry, generation, index in the file table or -1.
   */
  readonly commands: Float64Array
  /**
   * How many operations the kernel has, zero or the negative errno that broke the ring; then three numbers a
   * completion: slot, generation, result.
   */
  readonly completions: Int32Array
}

/** How often a ring did what, for tests and reports. */
export interface NativeRingUse {
  /** Calls of io_uring_enter. */
  readonly enters: number
  readonly fixedFileOperations: number
  readonly fixedBufferOperations: number
}

/** The part of the addon that a ring is made of. */
export interface RingAddon {
  createRing(
    entries: number,
    submissionThreadIdleMs: number,
    fileTable: number,
    bufferTable: number,
    onCompletions: (count: number) => void,
  ): NativeRing | number
  /** Hands over the first `count` commands. How many completions are in the array, or a negative errno. */
  submitRing(ring: number, count: number): number
  /** As {@link submitRing}, but looks for no completions: the array of completions stays as it is. */
  passOnRing(ring: number, count: number): void
  /**
   * Blocks until so many operations have completed or the time is over (negative: without end); not at all when one has
   * already. As {@link submitRing}.
   */
  waitRing(ring: number, timeoutMs: number, atLeast: number): number
  cancelRing(ring: number, slot: number, generation: number): void
  /** Puts a descriptor into the ring's table, -1 takes it out. */
  setRingFile(ring: number, index: number, fd: number): number
  /** Registers memory that never moves and is never detached, or gives the place back. */
  setRingBuffer(ring: number, index: number, bytes: Uint8Array | undefined): number
  ringUse(ring: number): NativeRingUse
  /** Cancels what can be and blocks until the kernel owns nothing any more. */
  closeRing(ring: number): void
}

/**
 * The functions of the C++ addon. They check no more than memory safety asks; a negative result is an errno. Everything
 * belongs to the thread that loaded it.
 */
export interface NativeAddon extends RingAddon {
  /**
   * CRC-32C of `length` bytes from `offset`, going on from `seed`, the CRC of the bytes before (0 if none), so that
   * `crc32c(b, ..., crc32c(a, ..., 0))` is that of `a` followed by `b`.
   */
  crc32c(bytes: Uint8Array, offset: number, length: number, seed: number): number
  /** The same without special instructions of the processor. */
  crc32cSoftware(bytes: Uint8Array, offset: number, length: number, seed: number): number
  /** The memory address of the array's first byte. Memory of a `SharedArrayBuffer` never moves. */
  addressOf(bytes: Uint8Array): number
  /** madvise(MADV_HUGEPAGE) for the whole pages of the range. Zero or a negative errno. */
  adviseHugePages(bytes: Uint8Array): number
  /** Makes the pages of shared memory present on another thread; what they hold stays. `done` is called in any case. */
  populateMemory(bytes: Uint8Array, done: () => void): void

  /**
   * Whether this engine lets memory be held while it is in flight. Where it does not, what is transferred away could be
   * given to somebody else while the kernel still writes to it.
   */
  canPinMemory(): boolean

  createLogThread(onDone: (command: number, result: number) => void): number
  logWriteDsync(thread: number, command: number, fd: number, bytes: Uint8Array, offset: number): void
  logSync(thread: number, command: number, fd: number): void
  logSyncAfter(thread: number, command: number, fd: number, delayMs: number): void
  logCancel(thread: number, command: number): boolean
  logTruncate(thread: number, command: number, fd: number, size: number): void
  logAppendZeros(thread: number, command: number, fd: number, end: number): void
  logBarrier(thread: number, command: number): void
  logPopulate(thread: number, mapping: number, offset: number, length: number): void
  closeLogThread(thread: number): void

  mapFile(
    fd: number,
    length: number,
  ): { readonly id: number; readonly buffer: ArrayBuffer } | number | undefined
  detachMapping(mapping: number): boolean
  /** `undefined` where there is no external memory. `portable`: without special instructions of the processor. */
  createSealedCopy(portable: boolean): SealedCopy | undefined

  readSync(fd: number, bytes: Uint8Array, offset: number): number
  writeSync(fd: number, bytes: Uint8Array, offset: number, dsync: boolean): number
  syncSync(fd: number): number
  closeSync(fd: number): number
  lockFile(path: string): number
  setDirect(fd: number): number
  directAlignment(fd: number): number

  /** For tests: the faults of testing-faults.ts, five numbers each. An empty array disarms. */
  setFaults(rules: Float64Array): void
  faultHits(): number[]
}

export type LoadedAddon = { readonly addon: NativeAddon } | { readonly reason: string }

/** From `src/addon.ts` and from the bundle in `dist/` alike, the package's root is one directory up. */
const addonPath = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build', 'holt_native.node')

let loaded: LoadedAddon | undefined

/**
 * The addon, or why there is none in one line. Loaded once a thread. `HOLT_NATIVE=off` in the environment switches it
 * off.
 */
export function loadAddon(): LoadedAddon {
  loaded ??= load()
  return loaded
}

/**
 * The addon for what goes on while JavaScript does something else: rings and the log thread.
 *
 * @throws `HOLT_UNSUPPORTED` without the addon, or in an engine in which it cannot hold memory; the message says why
 */
export function loadAsyncAddon(): NativeAddon {
  const found = loadAddon()
  if ('reason' in found) throw new HoltError('HOLT_UNSUPPORTED', found.reason)
  if (!found.addon.canPinMemory()) {
    throw new HoltError(
      'HOLT_UNSUPPORTED',
      `io_uring is not used: this engine (V8 ${process.versions.v8}) lets no memory be held that can be transferred away`,
    )
  }
  return found.addon
}

function load(): LoadedAddon {
  if (process.env['HOLT_NATIVE'] === 'off')
    return { reason: 'the native addon is switched off by HOLT_NATIVE=off' }
  try {
    return { addon: createRequire(import.meta.url)(addonPath) as NativeAddon }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND') {
      return { reason: 'the native addon is not built' }
    }
    const [said] = (error instanceof Error ? error.message : String(error)).split('\n')
    return { reason: `the native addon does not load: ${said}` }
  }
}
