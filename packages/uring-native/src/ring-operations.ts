import type { HoltError } from '@holt/errors'

/** Opcodes of io_uring that are used here (linux/io_uring.h). */
export const OPCODE = {
  nop: 0,
  fsync: 3,
  fallocate: 17,
  openat: 18,
  close: 19,
  statx: 21,
  read: 22,
  write: 23,
  renameat: 35,
  unlinkat: 36,
  mkdirat: 37,
  linkat: 39,
  ftruncate: 55,
} as const

export type Opcode = (typeof OPCODE)[keyof typeof OPCODE]

/** Of fsync: file data and what is needed to read it back, no more. */
export const FSYNC_DATASYNC = 1

/** Of fallocate: give space back, and leave the size as it is. */
export const FALLOCATE_PUNCH_HOLE = 0b11

/** One operation for the kernel, and who hears of its result. Numbers that it does not use are 0. */
export interface RingOperation {
  readonly opcode: Opcode
  readonly fd: number
  /** Where the file stands in the ring's table; -1: only `fd` tells. */
  readonly fileIndex: number
  /** Where in the file, or the new size. */
  offset: number
  /** Of read and write: where in `bytes`. Of fallocate: how many bytes. */
  start: number
  /** Of read and write: how many bytes. Of openat and fallocate: the mode. Of statx: the mask. */
  length: number
  readonly flags: number
  /** What is read into or written from; a path that ends with NUL; the statx result. */
  readonly bytes: Uint8Array | undefined
  /** Of renameat and linkat: the new path, ending with NUL. */
  readonly secondPath: Uint8Array | undefined
  /** Called once, with what the kernel returned: at least 0, or a negative errno. May queue further operations. */
  completed(result: number): void
  /** Called once, instead: the ring broke, and the kernel owns none of the buffers any more. */
  abandoned(error: HoltError): void
}

/** A path as the kernel reads it. */
export function pathBytes(path: string): Uint8Array {
  return Buffer.from(`${path}\0`)
}
