import { checkAligned, checkTransfers, endOfFile, orderWrites } from '@holt/uring-native'
import type { Transfer } from '@holt/uring-native'

import { MAX_SIM_FILE_BYTES, refusal } from './disk-state.js'
import type { DiskState } from './disk-state.js'
import type { Misdirection } from './fault-rules.js'
import type { SeededRandom } from './seeded-random.js'
import type { Step } from './sim-calls.js'
import { SECTOR_BYTES, SIM_PAGE_BYTES } from './sim-file.js'
import type { SimOpenFile } from './sim-open-file.js'

export const BLOCK_SIZE_BYTES = 512

/** What moves bytes between callers and files, and what makes them stable: the steps of {@link SimIo}. */
export class SimTransfers {
  readonly #state: DiskState
  readonly #random: SeededRandom
  readonly #lyingSyncs: boolean

  /** @param random - drawn from only when a rule misdirects a write */
  constructor(state: DiskState, random: SeededRandom, lyingSyncs: boolean) {
    this.#state = state
    this.#random = random
    this.#lyingSyncs = lyingSyncs
  }

  /** Reads into `into` from byte `done` of it on, as many bytes as it gets. */
  read(own: SimOpenFile, offsetBytes: number, into: Uint8Array, done: number): Step<number> {
    return {
      operation: 'read',
      syscall: 'pread',
      path: own.path,
      run: (limitBytes) => {
        if (own.kind === 'directory') throw refusal('EISDIR', 'pread', own.path)
        const inode = this.#state.file(own.inode)
        const at = offsetBytes + done
        const length = Math.min(into.byteLength - done, limitBytes, Math.max(0, inode.sizeBytes - at))
        if (length === 0) throw endOfFile(own.path, offsetBytes, into.byteLength, done)
        inode.read(at, into.subarray(done, done + length))
        return length
      },
    }
  }

  write(
    operation: 'write' | 'writeDsync',
    own: SimOpenFile,
    offsetBytes: number,
    bytes: Uint8Array,
  ): Step<number> {
    const write = (state: DiskState, part: Uint8Array, at = offsetBytes): void => {
      state.file(own.inode).write(at, part)
    }
    const isStable = operation === 'writeDsync' && !this.#lyingSyncs
    return {
      operation,
      syscall: 'pwrite',
      path: own.path,
      run: (limitBytes) => {
        assertWritable(own, 'pwrite')
        if (offsetBytes + bytes.byteLength > MAX_SIM_FILE_BYTES) throw refusal('EFBIG', 'pwrite', own.path)
        const fits = this.#fittingBytes(own, offsetBytes, bytes.byteLength)
        const length = Math.min(bytes.byteLength, limitBytes, fits)
        if (length === 0) throw refusal('ENOSPC', 'pwrite', own.path)
        write(this.#state, bytes.subarray(0, length))
        if (isStable) this.#state.file(own.inode).commitRange(offsetBytes, length)
        return length
      },
      failed: () => {
        // A failed RWF_DSYNC write has usually got as far as the page cache.
        if (operation === 'write' || !own.writable) return
        write(this.#state, bytes)
        this.#state.file(own.inode).failRange(offsetBytes, bytes.byteLength)
      },
      lie: (lie) => {
        assertWritable(own, 'pwrite')
        const place = lie.kind === 'lost' ? undefined : this.#otherPlace(own, offsetBytes, lie.to)
        if (place) {
          const file = this.#state.file(place.inode)
          file.write(place.offsetBytes, bytes)
          if (isStable) file.commitRange(place.offsetBytes, bytes.byteLength)
        }
        return bytes.byteLength
      },
      torn: (state, random) => {
        if (!own.writable) return
        if (own.direct && random.chance(0.5)) {
          for (let at = 0; at < bytes.byteLength; at += SECTOR_BYTES) {
            if (random.chance(0.5)) write(state, bytes.subarray(at, at + SECTOR_BYTES), offsetBytes + at)
          }
          return
        }
        const end = offsetBytes + random.below(bytes.byteLength + SECTOR_BYTES)
        const length = Math.max(0, Math.floor(end / SECTOR_BYTES) * SECTOR_BYTES - offsetBytes)
        const whole = random.chance(0.3)
        write(state, whole ? bytes : bytes.subarray(0, length))
        if (whole && operation === 'writeDsync' && random.chance(0.5)) {
          state.file(own.inode).commitRange(offsetBytes, bytes.byteLength)
        }
      },
    }
  }

  /** Of a file, or of a directory's names. What it covers is what was done when this is called. */
  sync(own: SimOpenFile): Step<void> {
    if (own.kind === 'directory') {
      const upTo = this.#state.nameOperationCount
      const run = (): void => {
        this.#state.commitNames(own.inode, upTo)
      }
      return { operation: 'syncDir', syscall: 'fsync', path: own.path, run, lie: () => undefined }
    }
    const capture = this.#state.file(own.inode).capture()
    return {
      operation: 'sync',
      syscall: 'fdatasync',
      path: own.path,
      run: () => {
        if (!this.#lyingSyncs) this.#state.file(own.inode).commit(capture)
      },
      failed: () => {
        this.#state.file(own.inode).fail(capture)
      },
      lie: () => undefined,
      torn: (state, random) => {
        if (random.chance(0.5)) state.file(own.inode).commit(capture)
      },
    }
  }

  /** How much of a write finds space on the disk, from its start. */
  #fittingBytes(own: SimOpenFile, offsetBytes: number, lengthBytes: number): number {
    const inode = this.#state.file(own.inode)
    const wanted = inode.pagesToAllocate(offsetBytes, lengthBytes)
    if (this.#state.roomForPages(wanted) >= wanted) return lengthBytes
    let fits = 0
    while (fits < lengthBytes) {
      const next = Math.min(lengthBytes, fits + SIM_PAGE_BYTES - ((offsetBytes + fits) % SIM_PAGE_BYTES))
      const pages = inode.pagesToAllocate(offsetBytes, next)
      if (this.#state.roomForPages(pages) < pages) break
      fits = next
    }
    return fits
  }

  /** Where a misdirected write goes; undefined when the file it should go to is not there. */
  #otherPlace(
    own: SimOpenFile,
    offsetBytes: number,
    to: Misdirection,
  ): { readonly inode: number; readonly offsetBytes: number } | undefined {
    const found = to.path === undefined ? own : this.#state.lookup(to.path)
    if (found?.kind !== 'file') return undefined
    const { inode } = found
    if (to.offsetBytes !== undefined) return { inode, offsetBytes: to.offsetBytes }
    // Any sector of the file or the one behind it, but for the right one.
    const sectors = Math.ceil(this.#state.file(inode).sizeBytes / SECTOR_BYTES) + 1
    const right = inode === own.inode ? offsetBytes / SECTOR_BYTES : Infinity
    const isAmongThem = right < sectors && Number.isInteger(right)
    const drawn = this.#random.below(isAmongThem ? sectors - 1 : sectors)
    const sector = isAmongThem && drawn >= right ? drawn + 1 : drawn
    return { inode, offsetBytes: sector * SECTOR_BYTES }
  }
}

/** The rule of files opened `direct` about multiples. */
export function checkMultiples(file: SimOpenFile, offsetBytes: number, bytes: Uint8Array): void {
  if (file.direct) checkAligned(offsetBytes, bytes.byteLength, BLOCK_SIZE_BYTES)
}

/** Checks a list of reads. */
export function checkReads(file: SimOpenFile, transfers: readonly Transfer[]): void {
  checkTransfers(transfers)
  for (const part of transfers) checkMultiples(file, part.offsetBytes, part.bytes)
}

/** Checks a list of writes, and brings it into the order in which they are made. */
export function checkWrites(file: SimOpenFile, transfers: readonly Transfer[]): Transfer[] {
  checkReads(file, transfers)
  return orderWrites(transfers)
}

export function assertWritable(file: SimOpenFile, syscall: string): void {
  if (!file.writable) throw refusal('EBADF', syscall, file.path)
}
