import fs from 'node:fs'

import { HoltError } from '@holt/errors'

import { MAX_FILE_BYTES } from './arguments.js'
import { errnoName, isInterruption } from './native-errno.js'
import { FSYNC_DATASYNC, OPCODE, pathBytes } from './ring-operations.js'
import type { Opcode, RingOperation } from './ring-operations.js'
import type { RingCompletion, RingHandle, RingRequest } from './ring-contract.js'
import { LINK } from './ring-core.js'
import type { Link } from './ring-core.js'
import type { RingFile } from './ring-files.js'
import { MAX_RETRIES, MAX_STEP_BYTES, impossible, memoryLost } from './ring-transfer.js'
import { STATX_BASIC_STATS, STATX_BYTES, statOf } from './statx.js'
import { systemError } from './system-error.js'

const { O_CREAT, O_DIRECTORY, O_DSYNC, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC } = fs.constants
const O_CLOEXEC = 0o2000000
const FILE_MODE = 0o644
const DIRECTORY_MODE = 0o755

/** What a task needs of its ring. */
export interface TaskHost<Handle extends RingHandle> {
  /** The operation goes on: its fields say how. */
  followUp(task: RingTask<Handle>): void
  finish(task: RingTask<Handle>, completion: RingCompletion<Handle>): void
  /** Makes the file of a descriptor that was opened. */
  openFile(path: string, fd: number, direct: boolean, registered: boolean): RingFile
  /** The descriptor is closed: forgets the file. */
  closedFile(file: RingFile): void
  closeDescriptor(fd: number): void
}

export function cancelled(op: string, path: string): HoltError {
  return systemError('ECANCELED', op, path)
}

/** An operation in flight: what the kernel is asked next, and what its answers amount to. */
export abstract class RingTask<Handle extends RingHandle> implements RingOperation {
  readonly request: RingRequest<Handle>
  opcode: Opcode = OPCODE.nop
  fd = -1
  fileIndex = -1
  offset = 0
  start = 0
  length = 0
  flags = 0
  bytes: Uint8Array | undefined
  secondPath: Uint8Array | undefined
  /** Its chain, itself included; of a single operation undefined. */
  chain: readonly RingTask<Handle>[] | undefined
  /** How it hangs together with the member after it. */
  link: Link = LINK.none
  isFinished = false
  readonly file: RingFile | undefined
  readonly path: string
  protected readonly host: TaskHost<Handle>
  #cancelRequested = false
  #retries = 0

  constructor(host: TaskHost<Handle>, request: RingRequest<Handle>, path: string, file?: RingFile) {
    this.host = host
    this.request = request
    this.path = path
    this.file = file
    if (file !== undefined) this.fd = file.fd
  }

  get handle(): Handle {
    return this.request.handle
  }

  /** Nothing further is asked of the kernel, but for what must be cleaned up. */
  requestCancel(): void {
    this.#cancelRequested = true
  }

  completed(result: number): void {
    const errno = result < 0 ? errnoName(result) : ''
    const repeatable =
      isInterruption(errno) && this.mayRepeat() && !(errno === 'ECANCELED' && this.#cancelRequested)
    if (repeatable && this.#retries++ < MAX_RETRIES) this.goOn()
    else this.advance(result, errno)
  }

  abandoned(error: HoltError): void {
    this.fail(error)
  }

  /** Ends it without the kernel. */
  fail(error: HoltError): void {
    this.host.finish(this, { ...this.named(), op: this.request.op, error, movedBytes: this.start })
  }

  /** The kernel answered with a number, or with an errno (else empty). Ends in `finish`, `fail` or `goOn`. */
  protected abstract advance(result: number, errno: string): void

  protected mayRepeat(): boolean {
    return this.chain === undefined
  }

  protected goOn(): void {
    if (this.#cancelRequested) this.fail(cancelled(this.request.op, this.path))
    else this.host.followUp(this)
  }

  protected named(): { readonly handle: Handle } {
    return { handle: this.request.handle }
  }
}

type Simple = Exclude<RingRequest['op'], 'open' | 'stat' | 'read' | 'write' | 'syncDirectory'>

/** One question, answered with 0. */
class SimpleTask<Handle extends RingHandle> extends RingTask<Handle> {
  readonly #op: Simple

  constructor(
    host: TaskHost<Handle>,
    request: RingRequest<Handle>,
    op: Simple,
    path: string,
    file?: RingFile,
  ) {
    super(host, request, path, file)
    this.#op = op
  }

  protected override mayRepeat(): boolean {
    // A close that was interrupted has given the descriptor back.
    return this.#op !== 'close' && super.mayRepeat()
  }

  override abandoned(error: HoltError): void {
    this.#reopen()
    super.abandoned(error)
  }

  override fail(error: HoltError): void {
    this.#reopen()
    super.fail(error)
  }

  protected override advance(result: number, errno: string): void {
    if (errno !== '' && !(this.#op === 'close' && errno === 'EINTR')) {
      if (this.#op === 'close' && errno !== 'ECANCELED' && this.file !== undefined) {
        // Whatever else it says, the descriptor is gone.
        this.host.closedFile(this.file)
      }
      this.fail(systemError(errno, this.#op, this.path))
      return
    }
    if (result > 0) {
      this.fail(new HoltError('HOLT_RING', `${this.#op} gave the unexpected result ${String(result)}, not 0`))
      return
    }
    if (this.#op === 'close' && this.file !== undefined) this.host.closedFile(this.file)
    this.host.finish(this, { ...this.named(), op: this.#op, error: undefined })
  }

  /** A close that was not run leaves the file as it was. */
  #reopen(): void {
    if (this.#op === 'close' && this.file?.state === 'closing') this.file.state = 'open'
  }
}

class OpenTask<Handle extends RingHandle> extends RingTask<Handle> {
  readonly #direct: boolean
  readonly #registered: boolean

  constructor(host: TaskHost<Handle>, request: RingRequest<Handle> & { readonly op: 'open' }) {
    super(host, request, request.path)
    const { options } = request
    this.opcode = OPCODE.openat
    this.bytes = pathBytes(request.path)
    this.length = FILE_MODE
    this.flags =
      O_CLOEXEC |
      (options.access === 'readwrite' ? O_RDWR : O_RDONLY) |
      (options.create === true ? O_CREAT : 0) |
      (options.exclusive === true ? O_EXCL : 0) |
      (options.truncate === true ? O_TRUNC : 0) |
      (options.dsync === true ? O_DSYNC : 0)
    this.#direct = options.direct === true
    this.#registered = options.registered === true
  }

  protected override advance(result: number, errno: string): void {
    if (errno !== '') {
      this.fail(systemError(errno, 'openat', this.path))
      return
    }
    const file = this.host.openFile(this.path, result, this.#direct, this.#registered)
    this.host.finish(this, { ...this.named(), op: 'open', error: undefined, file })
  }
}

class StatTask<Handle extends RingHandle> extends RingTask<Handle> {
  readonly #into = new Uint8Array(STATX_BYTES)

  constructor(host: TaskHost<Handle>, request: RingRequest<Handle>, file: RingFile) {
    super(host, request, file.path, file)
    this.opcode = OPCODE.statx
    this.bytes = this.#into
    this.length = STATX_BASIC_STATS
  }

  protected override advance(_result: number, errno: string): void {
    if (errno !== '') this.fail(systemError(errno, 'statx', this.path))
    else this.host.finish(this, { ...this.named(), op: 'stat', error: undefined, stat: statOf(this.#into) })
  }
}

class TransferTask<Handle extends RingHandle> extends RingTask<Handle> {
  readonly #op: 'read' | 'write'
  readonly #file: RingFile
  readonly #bytes: Uint8Array
  readonly #totalBytes: number
  readonly #once: boolean
  #stuck = 0

  constructor(host: TaskHost<Handle>, request: RingRequest<Handle> & { readonly op: 'read' | 'write' }) {
    super(host, request, request.file.path, request.file)
    this.#op = request.op
    this.#file = request.file
    this.#bytes = request.bytes
    this.#totalBytes = request.bytes.byteLength
    this.#once = request.once === true
    this.opcode = request.op === 'read' ? OPCODE.read : OPCODE.write
    this.fileIndex = request.file.fileIndex
    this.offset = request.offsetBytes
    this.bytes = request.bytes
    this.length = Math.min(this.#totalBytes, MAX_STEP_BYTES)
  }

  protected override advance(result: number, errno: string): void {
    const { path } = this
    const syscall = this.#op === 'read' ? 'pread' : 'pwrite'
    if (this.#bytes.byteLength < this.#totalBytes) {
      this.fail(memoryLost(this.#totalBytes, this.#bytes.byteLength, syscall, path))
      return
    }
    if (errno !== '') {
      this.fail(systemError(errno, syscall, path))
      return
    }
    if (result > this.length) {
      this.fail(impossible(result, this.length, syscall, path))
      return
    }
    const wholeBlocks = result - (result % this.#file.stepBytes)
    // A direct write is resumed from its last whole block; a direct read that stops within one met the end.
    const resumable = this.chain === undefined && !this.#once
    this.start += resumable && this.#op === 'write' ? wholeBlocks : result
    this.offset += resumable && this.#op === 'write' ? wholeBlocks : result
    const left = this.#totalBytes - this.start
    if (left === 0 || this.#once) {
      this.#done()
    } else if (this.chain !== undefined) {
      const moved = `${String(this.start)} of ${String(this.#totalBytes)} bytes`
      this.fail(
        new HoltError('HOLT_SHORT_TRANSFER', `${syscall} of '${path}' in a chain moved ${moved}`, { path }),
      )
    } else if (this.#op === 'read' && (result === 0 || wholeBlocks !== result)) {
      this.#done()
    } else if (this.#op === 'write' && wholeBlocks === 0 && (result === 0 || this.#stuck++ > MAX_RETRIES)) {
      this.fail(systemError('EIO', syscall, path))
    } else {
      this.length = Math.min(left, MAX_STEP_BYTES)
      this.goOn()
    }
  }

  #done(): void {
    const { start: movedBytes } = this
    this.host.finish(this, {
      ...this.named(),
      op: this.#op,
      error: undefined,
      bytes: this.#bytes,
      movedBytes,
    })
  }
}

/** Opens the directory, syncs it, closes it; the last also when the sync failed or was cancelled. */
class SyncDirectoryTask<Handle extends RingHandle> extends RingTask<Handle> {
  #step: 'open' | 'sync' | 'close' = 'open'
  #error: HoltError | undefined

  constructor(host: TaskHost<Handle>, request: RingRequest<Handle>, path: string) {
    super(host, request, path)
    this.opcode = OPCODE.openat
    this.bytes = pathBytes(path)
    this.flags = O_CLOEXEC | O_RDONLY | O_DIRECTORY
  }

  override fail(error: HoltError): void {
    // Cancelled between two steps, or the ring broke.
    if (this.#step !== 'open') this.host.closeDescriptor(this.fd)
    this.#step = 'open'
    super.fail(error)
  }

  protected override mayRepeat(): boolean {
    return this.#step !== 'close'
  }

  protected override advance(result: number, errno: string): void {
    switch (this.#step) {
      case 'open':
        if (errno !== '') {
          this.fail(systemError(errno, 'openat', this.path))
          return
        }
        this.fd = result
        this.bytes = undefined
        this.opcode = OPCODE.fsync
        this.flags = 0
        this.#step = 'sync'
        this.goOn()
        return
      case 'sync':
        if (errno !== '') this.#error = systemError(errno, 'fsync', this.path)
        this.opcode = OPCODE.close
        this.#step = 'close'
        // Not goOn: the descriptor is closed whatever was asked meanwhile.
        this.host.followUp(this)
        return
      case 'close':
        if (errno === 'ECANCELED') this.host.closeDescriptor(this.fd)
        this.#step = 'open'
        if (this.#error !== undefined) super.fail(this.#error)
        else this.host.finish(this, { ...this.named(), op: 'syncDirectory', error: undefined })
    }
  }
}

/** The task of a request whose arguments were checked. */
export function makeTask<Handle extends RingHandle>(
  host: TaskHost<Handle>,
  request: RingRequest<Handle>,
): RingTask<Handle> {
  switch (request.op) {
    case 'open':
      return new OpenTask(host, request)
    case 'stat':
      return new StatTask(host, request, request.file)
    case 'read':
    case 'write':
      return new TransferTask(host, request)
    case 'syncDirectory':
      return new SyncDirectoryTask(host, request, request.path)
    default:
      return simpleTask(host, request)
  }
}

function simpleTask<Handle extends RingHandle>(
  host: TaskHost<Handle>,
  request: RingRequest<Handle> & { readonly op: Simple },
): RingTask<Handle> {
  const make = (path: string, file?: RingFile): SimpleTask<Handle> =>
    new SimpleTask(host, request, request.op, path, file)
  switch (request.op) {
    case 'nop':
      return make('')
    case 'close':
      return Object.assign(make(request.file.path, request.file), { opcode: OPCODE.close })
    case 'fsync':
      return Object.assign(make(request.file.path, request.file), { opcode: OPCODE.fsync })
    case 'datasync':
      return Object.assign(make(request.file.path, request.file), {
        opcode: OPCODE.fsync,
        flags: FSYNC_DATASYNC,
      })
    case 'allocate': {
      const fields = { opcode: OPCODE.fallocate, offset: request.offsetBytes, start: request.lengthBytes }
      return Object.assign(make(request.file.path, request.file), fields)
    }
    case 'truncate':
      return Object.assign(make(request.file.path, request.file), {
        opcode: OPCODE.ftruncate,
        offset: Math.min(request.sizeBytes, MAX_FILE_BYTES),
      })
    case 'rename':
      return Object.assign(make(request.from), {
        opcode: OPCODE.renameat,
        bytes: pathBytes(request.from),
        secondPath: pathBytes(request.to),
      })
    case 'remove':
      return Object.assign(make(request.path), { opcode: OPCODE.unlinkat, bytes: pathBytes(request.path) })
    case 'mkdir':
      return Object.assign(make(request.path), {
        opcode: OPCODE.mkdirat,
        bytes: pathBytes(request.path),
        length: DIRECTORY_MODE,
      })
  }
}
