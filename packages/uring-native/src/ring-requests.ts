import { HoltError } from '@holt/errors'

import {
  checkAligned,
  checkLength,
  checkOpenOptions,
  checkPath,
  checkRange,
  checkTransfer,
} from './arguments.js'
import type { RingHandle, RingOptions, RingRequest } from './ring-contract.js'
import { RingFile } from './ring-files.js'

/** What a ring checks of its arguments before anything happens. A failed check is `HOLT_INVALID_ARGUMENT`. */

const DEFAULT_ENTRIES = 256
const MAX_ENTRIES = 4096
const DEFAULT_IDLE_MS = 2000
const MAX_IDLE_MS = 60_000
const DEFAULT_FILES = 64
const DEFAULT_BUFFERS = 32
const MAX_TABLE = 16_384

function invalid(message: string): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', message)
}

function integer(value: unknown, name: string, least: number, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  const found = typeof value === 'number' ? String(value) : `a ${typeof value}`
  throw invalid(`${name} must be an integer from ${String(least)} to ${String(most)}, found ${found}`)
}

/** The options with what was left out. `submissionThread` is false or an idle time. */
export function checkRingOptions(options: RingOptions): Required<RingOptions> {
  const given: unknown = options
  if (typeof given !== 'object' || given === null) throw invalid('the options of a ring must be an object')
  const known = ['entries', 'submissionThread', 'registeredFiles', 'registeredBuffers']
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) throw invalid(`a ring does not know the option '${name}'`)
  }
  return {
    entries: integer(options.entries ?? DEFAULT_ENTRIES, 'entries', 1, MAX_ENTRIES),
    submissionThread: checkSubmissionThread(options.submissionThread),
    registeredFiles: integer(options.registeredFiles ?? DEFAULT_FILES, 'registeredFiles', 0, MAX_TABLE),
    registeredBuffers: integer(
      options.registeredBuffers ?? DEFAULT_BUFFERS,
      'registeredBuffers',
      0,
      MAX_TABLE,
    ),
  }
}

function checkSubmissionThread(given: unknown): false | { readonly idleMs: number } {
  if (given === undefined || given === false) return false
  if (given === true) return { idleMs: DEFAULT_IDLE_MS }
  if (typeof given !== 'object' || given === null) {
    throw invalid('submissionThread must be a boolean or an object with idleMs')
  }
  const { idleMs } = given as { readonly idleMs?: unknown }
  return { idleMs: integer(idleMs, 'submissionThread.idleMs', 1, MAX_IDLE_MS) }
}

/** One operation: its handle, and what goes with its kind. Whether the file is open and the ring's is not looked at. */
export function checkRingRequest(request: RingRequest): void {
  const given: unknown = request
  if (typeof given !== 'object' || given === null) throw invalid('an operation must be an object')
  checkHandle(request.handle)
  if ('file' in request && !((request.file as unknown) instanceof RingFile)) {
    throw invalid('a file must be one that a ring opened')
  }
  switch (request.op) {
    case 'nop':
    case 'close':
    case 'stat':
    case 'fsync':
    case 'datasync':
      return
    case 'open':
      checkPath(request.path)
      checkOptionsOfOpen(request.options)
      return
    case 'read':
    case 'write':
      checkTransfer(request.offsetBytes, request.bytes)
      checkOnce(request.once)
      if (request.file.direct) {
        checkAligned(request.offsetBytes, request.bytes.byteLength, request.file.blockSizeBytes)
      }
      return
    case 'allocate':
      checkRange(request.offsetBytes, request.lengthBytes)
      if (request.lengthBytes === 0) throw invalid('allocate needs at least one byte')
      return
    case 'truncate':
      checkLength(request.sizeBytes, 'a size')
      return
    case 'rename':
      checkPath(request.from)
      checkPath(request.to)
      return
    case 'remove':
    case 'mkdir':
    case 'syncDirectory':
      checkPath(request.path)
      return
    default:
      throw invalid('an operation must have one of the known kinds as its op')
  }
}

function checkHandle(handle: unknown): asserts handle is RingHandle {
  if (typeof handle === 'number' || (typeof handle === 'object' && handle !== null)) return
  throw invalid(`a handle must be a number or an object, found a ${handle === null ? 'null' : typeof handle}`)
}

function checkOnce(once: unknown): void {
  if (once !== undefined && typeof once !== 'boolean') throw invalid('once must be a boolean')
}

function checkOptionsOfOpen(options: unknown): void {
  if (typeof options !== 'object' || options === null) throw invalid('open options must be an object')
  const { dsync, ...others } = options as Readonly<Record<string, unknown>>
  if (dsync !== undefined && typeof dsync !== 'boolean') throw invalid('open option dsync must be a boolean')
  checkOpenOptions(others)
}
