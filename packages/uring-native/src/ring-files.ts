import { HoltError } from '@holt/errors'

import type { TransferFile } from './ring-transfer.js'

/** A file that a `Ring` opened. Its descriptor is the ring's to close. */
export class RingFile implements TransferFile {
  readonly path: string
  readonly fd: number
  readonly direct: boolean
  /** What `direct` transfers are multiples of. */
  readonly blockSizeBytes: number
  readonly fileIndex: number
  /** Operations in flight on it. */
  uses = 0
  state: 'open' | 'closing' | 'closed' = 'open'

  constructor(path: string, fd: number, direct: boolean, blockSizeBytes: number, fileIndex: number) {
    this.path = path
    this.fd = fd
    this.direct = direct
    this.blockSizeBytes = blockSizeBytes
    this.fileIndex = fileIndex
  }

  get isOpen(): boolean {
    return this.state === 'open'
  }

  get stepBytes(): number {
    return this.direct ? this.blockSizeBytes : 1
  }

  assertOpen(): void {
    if (this.state !== 'open') {
      throw new HoltError('HOLT_CLOSED', `the file '${this.path}' was closed`, { path: this.path })
    }
  }
}
