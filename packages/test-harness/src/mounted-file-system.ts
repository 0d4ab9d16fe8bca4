import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** File systems that can be made for a run. All but tmpfs lie in a file, so that what a sync waits for is this machine's disk. */
export const FILE_SYSTEMS = ['ext4', 'xfs', 'btrfs', 'tmpfs'] as const
export type FileSystemName = (typeof FILE_SYSTEMS)[number]

/** Of the file that it lies in. Smaller ones are refused by mkfs.xfs. */
const IMAGE_BYTES = 512 * 2 ** 20
const MAKE: Readonly<
  Record<Exclude<FileSystemName, 'tmpfs'>, readonly [program: string, ...args: string[]]>
> = {
  ext4: ['mkfs.ext4', '-q', '-F'],
  xfs: ['mkfs.xfs', '-q', '-f'],
  btrfs: ['mkfs.btrfs', '-q', '-f'],
}

/**
 * A fresh file system of our own, mounted until {@link unmount}, or until the process ends in whatever way it is told of. Linux,
 * root, and the program that makes it (Debian: e2fsprogs, xfsprogs, btrfs-progs) are needed.
 */
export class MountedFileSystem {
  readonly directory: string
  readonly #base: string
  readonly #atExit = (): void => {
    this.unmount()
  }

  /** @throws Error that says what is wanting */
  constructor(name: FileSystemName, tmpfsBytes = 48 * 2 ** 20) {
    this.#base = mkdtempSync(join(tmpdir(), `holt-${name}-`))
    this.directory = join(this.#base, 'mounted')
    mkdirSync(this.directory)
    process.once('exit', this.#atExit)
    try {
      if (name === 'tmpfs') {
        run('mount', '-t', 'tmpfs', '-o', `size=${String(tmpfsBytes)}`, 'holt', this.directory)
      } else {
        const image = join(this.#base, 'image')
        writeFileSync(image, '')
        truncateSync(image, IMAGE_BYTES)
        run(...MAKE[name], image)
        run('mount', '-t', name, '-o', 'loop', image, this.directory)
      }
    } catch (cause) {
      this.unmount()
      throw new Error(`${name} cannot be had here: ${cause instanceof Error ? cause.message : ''}`, { cause })
    }
  }

  /** Also when it is mounted no more. What is still open there goes as soon as it is closed. */
  unmount(): void {
    process.removeListener('exit', this.#atExit)
    if (!existsSync(this.#base)) return
    if (isMountPoint(this.directory)) {
      try {
        run('umount', this.directory)
      } catch {
        run('umount', '-l', this.directory)
      }
    }
    rmSync(this.#base, { recursive: true, force: true })
  }
}

function isMountPoint(directory: string): boolean {
  try {
    run('mountpoint', '-q', directory)
    return true
  } catch {
    return false
  }
}

function run(program: string, ...args: readonly string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
