import { drawStyle } from './crash-image.js'
import type { CrashOptions } from './crash-image.js'
import { DiskState } from './disk-state.js'
import { SeededRandom } from './seeded-random.js'
import { SimIo } from './sim-io.js'
import type { SimHost, SimProcessOptions } from './sim-io.js'

export interface SimDiskOptions {
  /** Everything random follows from it. Default 1. */
  readonly seed?: number
  /** Bytes of file space. Default no limit. */
  readonly capacityBytes?: number
}

/**
 * A disk in memory. Processes run on it (`start`), die (`kill`), and the power can fail (`crash`); see `sim-io.ts` for
 * what each leaves.
 *
 * ```ts
 * const disk = new SimDisk({ seed: 7 })
 * const io = disk.start()
 * …                                  // write through io
 * io.kill()                          // the page cache lives on
 * const again = disk.start()         // reopen, write more
 * const after = disk.crash(8)        // another disk: one that a power loss may leave
 * ```
 */
export class SimDisk {
  readonly #random: SeededRandom
  readonly #host: SimHost
  readonly #processes: SimIo[] = []

  constructor(options: SimDiskOptions = {}, state = new DiskState()) {
    this.#random = new SeededRandom(options.seed ?? 1)
    this.#host = { state, livePids: new Set(), locked: new Set() }
    if (options.capacityBytes !== undefined) state.capacityBytes = options.capacityBytes
  }

  /** Begins a process. Several may run at once. */
  start(options: SimProcessOptions = {}): SimIo {
    const io = new SimIo(this.#host, this.#random.fork(), options)
    this.#processes.push(io)
    return io
  }

  /** Kills every process on the disk. */
  kill(): void {
    for (const io of this.#processes.splice(0)) io.kill()
  }

  /**
   * A disk that a power loss at this moment may leave. This one and its processes go on. Many seeds give many disks;
   * the same seed at the same moment gives the same one.
   */
  crashImage(crash: CrashOptions | number): SimDisk {
    const options = typeof crash === 'number' ? { seed: crash } : crash
    const random = new SeededRandom(options.seed)
    const copy = this.#host.state.clone()
    for (const io of this.#processes) if (!io.isKilled) io.tearOn(copy, random)
    const state = copy.afterPowerLoss(random, drawStyle(random, options))
    return new SimDisk({ seed: random.uint32() }, state)
  }

  /** The power fails: every process dies, and the disk that is left is returned. This one is of no use any more. */
  crash(crash: CrashOptions | number): SimDisk {
    const after = this.crashImage(crash)
    this.kill()
    return after
  }

  /** A copy of the disk with its page cache, as a process killed now would leave it. */
  killImage(seed: number): SimDisk {
    const random = new SeededRandom(seed)
    const copy = this.#host.state.clone()
    for (const io of this.#processes) if (!io.isKilled) io.tearOn(copy, random)
    copy.closeAll()
    return new SimDisk({ seed: random.uint32() }, copy)
  }

  get capacityBytes(): number {
    return this.#host.state.capacityBytes
  }
  /** Makes space, or takes it away. */
  set capacityBytes(bytes: number) {
    this.#host.state.capacityBytes = bytes
  }
  get usedBytes(): number {
    return this.#host.state.usedBytes
  }

  // ---- looking in from outside -----------------------------------------------------------------------------------

  /** Names of a directory, sorted; those of its directories end with `/`. Empty when it is absent. */
  list(directory: string): string[] {
    const { state } = this.#host
    if (state.lookup(directory)?.kind !== 'directory') return []
    return state
      .list(directory)
      .map((name) => (state.lookup(`${directory}/${name}`)?.kind === 'directory' ? `${name}/` : name))
      .sort()
  }

  /** A file's present bytes; undefined when it is absent. */
  contents(path: string): Uint8Array | undefined {
    const found = this.#host.state.lookup(path)
    if (found?.kind !== 'file') return undefined
    const file = this.#host.state.file(found.inode)
    const bytes = new Uint8Array(file.sizeBytes)
    file.read(0, bytes)
    return bytes
  }

  /** Changes bytes on the medium and in the cache behind everybody's back: bit rot, or a hostile hand. */
  overwrite(path: string, offsetBytes: number, bytes: Uint8Array): void {
    const found = this.#host.state.lookup(path)
    if (found?.kind !== 'file') throw new RangeError(`no file '${path}' on the simulated disk`)
    const file = this.#host.state.file(found.inode)
    file.write(offsetBytes, bytes)
    file.commitRange(offsetBytes, bytes.byteLength)
  }

  /** Cuts a file off, or extends it with zeros, behind everybody's back. */
  resize(path: string, sizeBytes: number): void {
    const found = this.#host.state.lookup(path)
    if (found?.kind !== 'file') throw new RangeError(`no file '${path}' on the simulated disk`)
    const file = this.#host.state.file(found.inode)
    file.truncate(sizeBytes)
    file.commit(file.capture())
  }
}
