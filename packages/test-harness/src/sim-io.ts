/**
 * A disk, a clock and a process that exist in memory only, behind the face of every other Io.
 *
 * # Fault model
 *
 * **A killed process** (`kill`) leaves the page cache: everything written, mapped stores included, is there for the
 * next process. A call that was outstanding may be found done, half done (a write up to some sector) or not done. What
 * the process held is gone: locks, timers, descriptors, mappings (late stores of its code reach a copy only).
 *
 * **A power loss** (`SimDisk.crash`, `crashImage`) leaves, of what was not synced, anything:
 * - *Bytes.* The atom is the sector, 512 B. Each unsynced sector has its synced value or a later one: the present one,
 *   or one it had in between, since the kernel writes back when it pleases. A sector that was stored into through a
 *   mapping may be a mixture, byte by byte, of its synced value and a later one. Mappings are looked at whenever a call
 *   is made or carried out: values that come and go between two calls are not seen.
 * - *Sizes.* The size is the synced one or a later one. What was written behind a change of size that is lost is lost;
 *   what a truncation cut off does not come back unless the truncation is lost.
 * - *Names.* Each create, link, remove and rename since the last `syncDir` of its directory may be lost, independently,
 *   but for one rule: of one name an operation is not kept when an earlier one is lost. A rename is found done or not
 *   done. Syncing a file does not make its name stable.
 * - What a sync covered that had resolved is there. A sync covers what was completed when it was called. `writeDsync`
 *   makes its own range and the file's size stable, nothing else.
 *
 * **A failed sync** (a fault rule) leaves the sectors it should have written clean in the kernel's eyes, as Linux does:
 * a later sync succeeds without writing them, and a power loss may take them, unless they were written again. (Storing
 * the bytes they hold already through a mapping does not count as writing here.)
 *
 * **Faults by rule** (`faults`; see `FaultRule`), of the n-th call of a kind and file, some of them or with a probability:
 * - An error (`EIO`, `ENOSPC`, …) before anything was done, after a part was written, or after all was done (`late`). The
 *   disk may also have a capacity.
 * - *Interrupted* (`EINTR`) and *short*: what the kernel under an exact Io does. SimIo makes a further call for the rest
 *   itself, so that callers see neither; `onCall` and `faults.counts` do.
 * - *Lost*: a write, sync or directory sync reports success and does nothing. A later sync that is not lost makes stable
 *   what the lost one left out; what a lost write should have written is nowhere.
 * - *Misdirected*: a write reports success, and its bytes went to another offset or another file, which it lengthens if
 *   it must. It is then a write like any other: unsynced, or with `writeDsync` stable where it went.
 *
 *   Lost and misdirected writes miss the page cache, too: what reads back finds the old bytes at the right place and the
 *   new ones at the wrong one at once, as a real system does when the cache was dropped.
 *
 * **Bit rot** (`SimDisk.rot`, at any time, a named bit or some drawn from a seed): a bit of a synced sector is not what
 * it was. Where nothing of the page is unsynced readers see it at once, mappings included, as if the page had been dropped
 * from the cache and read again. Where the page is dirty the cache has the right bytes: a sync heals it, a power loss may
 * show it. `SimDisk.overwrite` and `resize` change cache and medium alike.
 *
 * **Not modelled**: sectors torn below 512 B outside mappings, reads that are corrupt once and right the next time, a
 * page cache that drops pages after a failed sync, medium errors that stay with a sector (a rule fails calls, not
 * places), names damaged on the medium.
 *
 * # Time and order
 *
 * Nothing depends on the real clock or on chance: one seed gives one run. A call is carried out at least one microtask
 * after it is made; with `reorder`, calls that are ready together are carried out in random order. With `latency`, a call
 * becomes ready when its time has passed on the virtual clock, and is outstanding until then: a crash may leave it half
 * done. What makes it again (interrupted, short) takes time again. A blocking call moves the clock by its own time; timers
 * that come due meanwhile are called back after it.
 */
import { HoltError } from '@holt/errors'
import {
  checkDelay,
  checkLength,
  checkOpenOptions,
  checkPath,
  checkRange,
  checkTransfer,
} from '@holt/uring-native'
import type {
  FileLock,
  FileStat,
  Io,
  IoCounters,
  IoFile,
  Mapping,
  OpenOptions,
  ProcessIdentity,
  ScheduledSync,
  Timer,
  Transfer,
} from '@holt/uring-native'

import { MAX_SIM_FILE_BYTES, refusal } from './disk-state.js'
import type { DiskState } from './disk-state.js'
import { FaultRules } from './fault-rules.js'
import type { FaultRule, SimOperation } from './fault-rules.js'
import type { SeededRandom } from './seeded-random.js'
import { SimCalls } from './sim-calls.js'
import type { SimCall, Step } from './sim-calls.js'
import { SimClock } from './sim-clock.js'
import { LatencyModel } from './sim-latency.js'
import type { SimLatency } from './sim-latency.js'
import { SimMapping, SimOpenFile } from './sim-open-file.js'
import {
  assertWritable,
  BLOCK_SIZE_BYTES,
  checkMultiples,
  checkReads,
  checkWrites,
  SimTransfers,
} from './sim-transfers.js'

/** Turns of the event loop without a call that is ready before `autoAdvance` moves the clock. */
const QUIET_TURNS = 3

export interface SimProcessOptions {
  /** Carry outstanding calls out in random order. */
  readonly reorder?: boolean
  /**
   * When no call is ready for some turns of the event loop, the clock moves by itself to the next timer or completion.
   */
  readonly autoAdvance?: boolean
  /** How long calls take, in virtual time. Default none: each is carried out a microtask after it is made. */
  readonly latency?: SimLatency
  readonly faults?: readonly FaultRule[]
  /** Told of each call before it has any effect. May take a crash image, or kill the process. */
  readonly onCall?: (call: SimCall) => void
  /** False: `map` answers undefined, as on a file system where mappings are unsound. Default true. */
  readonly mappings?: boolean
  /** True: syncs succeed and make nothing stable, as a lying disk's do. What is tested must then be seen to fail. */
  readonly lyingSyncs?: boolean
  /** False: `lock` answers undefined, as without the addon. Default true. */
  readonly locks?: boolean
}

/** What a process shares with the others on its disk. */
export interface SimHost {
  readonly state: DiskState
  readonly livePids: Set<number>
  /** Inodes of locked files. */
  readonly locked: Set<number>
}

/** One process on a {@link SimDisk}. Made by `SimDisk.start`. */
export class SimIo implements Io {
  readonly kind = 'sim'
  readonly fallbackReason = undefined
  readonly faults: FaultRules
  readonly #host: SimHost
  readonly #random: SeededRandom
  readonly #calls: SimCalls
  readonly #transfers: SimTransfers
  readonly #clock: SimClock
  readonly #options: SimProcessOptions
  readonly #pid: number
  readonly #files = new Set<SimOpenFile>()
  readonly #mappedInodes = new Set<number>()
  readonly #locks = new Set<number>()
  readonly #counters = { reads: 0, readBytes: 0, writes: 0, writtenBytes: 0, syncs: 0, otherOperations: 0 }
  #quietTurns = 0
  #turnComing = false
  #disposed: Promise<void> | undefined

  constructor(host: SimHost, random: SeededRandom, options: SimProcessOptions = {}) {
    this.#host = host
    this.#random = random
    this.#options = options
    this.#pid = ++host.state.lastPid
    this.#clock = new SimClock(this.#pid * 1e6)
    host.livePids.add(this.#pid)
    this.faults = new FaultRules(random.fork(), options.faults)
    this.#calls = new SimCalls({
      faults: this.faults,
      reorder: options.reorder === true ? random.fork() : undefined,
      onCall: options.onCall,
      clock: this.#clock,
      latency: options.latency && new LatencyModel(options.latency, random.fork()),
      onDelay: () => {
        this.#watchClock()
      },
      beforeEach: () => {
        this.#quietTurns = 0
        for (const inode of this.#mappedInodes) host.state.file(inode).sample()
      },
    })
    this.#transfers = new SimTransfers(host.state, random, options.lyingSyncs === true)
  }

  get counters(): IoCounters {
    return { ...this.#counters }
  }
  /** Calls carried out so far. */
  get callCount(): number {
    return this.#calls.count
  }
  /** Calls that have been made and not been carried out. */
  get outstanding(): number {
    return this.#calls.outstanding
  }
  get isKilled(): boolean {
    return this.#calls.isEnded
  }

  // ---- crashes -------------------------------------------------------------------------------------------------

  /**
   * Ends the process as SIGKILL does. Outstanding and later calls reject with `HOLT_CLOSED`, so that code that still
   * runs comes to an end.
   */
  kill(): void {
    if (this.isKilled) return
    const { state } = this.#host
    this.#calls.tear(state, this.#random.fork())
    for (const inode of this.#mappedInodes) state.file(inode).abandonMappings()
    this.#releaseAll()
    this.#calls.end(new HoltError('HOLT_CLOSED', `the simulated process ${String(this.#pid)} was killed`))
  }

  #releaseAll(): void {
    const { state, livePids, locked } = this.#host
    this.#mappedInodes.clear()
    this.#clock.cancelAll()
    for (const file of this.#files) {
      file.isOpen = false
      if (file.kind === 'file') state.file(file.inode).openCount--
    }
    this.#files.clear()
    for (const inode of this.#locks) locked.delete(inode)
    this.#locks.clear()
    livePids.delete(this.#pid)
    state.dropUnreachable()
  }

  /** Leaves on a copy of the disk what the outstanding calls may have done already. */
  tearOn(copy: DiskState, random: SeededRandom): void {
    this.#calls.tear(copy, random)
  }

  // ---- files, promise face -------------------------------------------------------------------------------------

  async open(path: string, options: OpenOptions): Promise<IoFile> {
    this.#assertUsable()
    checkPath(path)
    checkOpenOptions(options)
    this.#counters.otherOperations++
    const inode = (state: DiskState): { kind: 'file' | 'directory'; inode: number } => {
      const found = state.lookup(path)
      if (found === undefined) {
        if (options.create !== true) throw refusal('ENOENT', 'open', path)
        return { kind: 'file', inode: state.createFile(path).number }
      }
      if (options.exclusive === true) throw refusal('EEXIST', 'open', path)
      if (found.kind === 'directory' && options.access === 'readwrite') throw refusal('EISDIR', 'open', path)
      if (options.truncate === true) state.file(found.inode).truncate(0)
      return found
    }
    return this.#call({
      operation: 'open',
      syscall: 'open',
      path,
      run: () => {
        const { state } = this.#host
        const found = inode(state)
        if (found.kind === 'file') state.file(found.inode).openCount++
        const writable = options.access === 'readwrite'
        const file = new SimOpenFile({ ...found, path, writable, direct: options.direct === true })
        this.#files.add(file)
        return file
      },
      torn: (state, random) => {
        if (random.chance(0.5)) inode(state)
      },
    })
  }

  async close(file: IoFile): Promise<void> {
    const own = this.#own(file)
    own.isOpen = false
    this.#counters.otherOperations++
    await this.#close(own)
  }

  async #close(own: SimOpenFile): Promise<void> {
    own.isOpen = false
    for (const scheduled of own.scheduledSyncs) scheduled.cancel()
    await own.untilIdle()
    const release = (): void => {
      if (this.#files.delete(own) && own.kind === 'file') this.#host.state.file(own.inode).openCount--
      this.#host.state.dropUnreachable()
    }
    // Linux closes the descriptor whatever close reports.
    await this.#call({ operation: 'close', syscall: 'close', path: own.path, run: release, failed: release })
  }

  async stat(file: IoFile): Promise<FileStat> {
    const own = this.#own(file)
    this.#counters.otherOperations++
    return own.track(() =>
      this.#call({
        operation: 'stat',
        syscall: 'fstat',
        path: own.path,
        run: () => {
          if (own.kind === 'directory') return { sizeBytes: 4096, allocatedBytes: 4096, kind: own.kind }
          const { sizeBytes, allocatedBytes } = this.#host.state.file(own.inode)
          return { sizeBytes, allocatedBytes, kind: own.kind }
        },
      }),
    )
  }

  async read(file: IoFile, offsetBytes: number, into: Uint8Array): Promise<void> {
    const own = this.#checked(file, offsetBytes, into)
    await own.track(() => this.#readAll(own, offsetBytes, into))
  }

  async readMany(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    checkReads(own, transfers)
    await own.track(() => allOf(transfers, (part) => this.#readAll(own, part.offsetBytes, part.bytes)))
  }

  async write(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const own = this.#checked(file, offsetBytes, bytes)
    await own.track(() => this.#writeAll('write', own, offsetBytes, bytes))
  }

  async writeMany(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    const parts = checkWrites(own, transfers)
    await own.track(() => allOf(parts, (part) => this.#writeAll('write', own, part.offsetBytes, part.bytes)))
  }

  async writeManyAndSync(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    const parts = checkWrites(own, transfers)
    if (transfers.length === 0) return
    await own.track(async () => {
      await allOf(parts, (part) => this.#writeAll('write', own, part.offsetBytes, part.bytes))
      await this.#sync(own)
    })
  }

  async writeDsync(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const own = this.#checked(file, offsetBytes, bytes)
    await own.track(() => this.#writeAll('writeDsync', own, offsetBytes, bytes))
    this.#counters.syncs++
  }

  async sync(file: IoFile): Promise<void> {
    const own = this.#own(file)
    await own.track(() => this.#sync(own))
  }

  async #sync(own: SimOpenFile): Promise<void> {
    await this.#call(this.#transfers.sync(own))
    this.#counters.syncs++
  }

  syncAfter(file: IoFile, delayMs: number): ScheduledSync {
    const own = this.#own(file)
    checkDelay(delayMs)
    let settle: (outcome: Promise<void> | undefined) => void = () => undefined
    const done = new Promise<void>((resolve) => {
      settle = resolve
    })
    const end = (outcome?: Promise<void>): void => {
      timer.cancel()
      own.scheduledSyncs.delete(scheduled)
      settle(outcome)
    }
    const timer = this.#setTimer(delayMs, () => {
      end(own.track(() => this.#sync(own)))
    })
    const scheduled: ScheduledSync = {
      done,
      cancel: () => {
        if (own.scheduledSyncs.has(scheduled)) end()
      },
    }
    own.scheduledSyncs.add(scheduled)
    return scheduled
  }

  async allocate(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<void> {
    const own = this.#own(file)
    checkRange(offsetBytes, lengthBytes)
    this.#counters.otherOperations++
    if (lengthBytes === 0) return
    const run = (state: DiskState): void => {
      if (offsetBytes + lengthBytes > MAX_SIM_FILE_BYTES) throw refusal('EFBIG', 'fallocate', own.path)
      const pages = state.file(own.inode).pagesToAllocate(offsetBytes, lengthBytes)
      if (state.roomForPages(pages) < pages) throw refusal('ENOSPC', 'fallocate', own.path)
      state.file(own.inode).allocate(offsetBytes, lengthBytes)
    }
    await own.track(() => this.#change(own, 'allocate', 'fallocate', run))
  }

  async punchHole(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<boolean> {
    const own = this.#own(file)
    checkRange(offsetBytes, lengthBytes)
    this.#counters.otherOperations++
    if (lengthBytes === 0) return true
    const run = (state: DiskState): void => {
      state.file(own.inode).punchHole(offsetBytes, lengthBytes)
    }
    await own.track(() => this.#change(own, 'punchHole', 'fallocate', run))
    return true
  }

  async truncate(file: IoFile, sizeBytes: number): Promise<void> {
    const own = this.#own(file)
    checkLength(sizeBytes, 'a size')
    this.#counters.otherOperations++
    const run = (state: DiskState): void => {
      if (sizeBytes > MAX_SIM_FILE_BYTES) throw refusal('EFBIG', 'ftruncate', own.path)
      const inode = state.file(own.inode)
      if (inode.isMapped && sizeBytes < inode.sizeBytes) {
        throw new HoltError(
          'HOLT_INVALID_ARGUMENT',
          `'${own.path}' is mapped: a store behind its end is SIGBUS`,
        )
      }
      inode.truncate(sizeBytes)
    }
    await own.track(() => this.#change(own, 'truncate', 'ftruncate', run))
  }

  async map(file: IoFile, lengthBytes: number): Promise<Mapping | undefined> {
    const own = this.#own(file)
    checkLength(lengthBytes)
    this.#counters.otherOperations++
    if (this.#options.mappings === false) return undefined
    return own.track(() =>
      this.#call({
        operation: 'map',
        syscall: 'mmap',
        path: own.path,
        run: () => {
          assertWritable(own, 'mmap')
          const inode = this.#host.state.file(own.inode)
          if (lengthBytes === 0 || lengthBytes > inode.sizeBytes || !inode.isAllocated(0, lengthBytes)) {
            throw new HoltError(
              'HOLT_INVALID_ARGUMENT',
              `${String(lengthBytes)} bytes of '${own.path}' cannot be mapped: ${String(inode.sizeBytes)} are there, ` +
                'and all that is mapped must be allocated',
            )
          }
          const bytes = inode.map(lengthBytes)
          if (bytes === undefined) return undefined
          this.#mappedInodes.add(own.inode)
          // A mapping keeps its file, closed and nameless or not.
          inode.openCount++
          return new SimMapping(bytes, () => this.#unmap(own))
        },
      }),
    )
  }

  async #unmap(own: SimOpenFile): Promise<void> {
    if (this.isKilled) return
    await this.#call({
      operation: 'unmap',
      syscall: 'munmap',
      path: own.path,
      run: () => {
        const inode = this.#host.state.file(own.inode)
        inode.unmap()
        inode.openCount--
        if (!inode.isMapped) this.#mappedInodes.delete(own.inode)
        this.#host.state.dropUnreachable()
      },
    })
  }

  blockSize(file: IoFile): number {
    this.#own(file)
    return BLOCK_SIZE_BYTES
  }

  // ---- files, blocking face ------------------------------------------------------------------------------------

  readSync(file: IoFile, offsetBytes: number, into: Uint8Array): void {
    const own = this.#checked(file, offsetBytes, into)
    for (let done = 0; done < into.byteLength;) {
      done += this.#calls.now(this.#transfers.read(own, offsetBytes, into, done))
    }
    this.#countRead(into)
  }

  readManySync(file: IoFile, transfers: readonly Transfer[]): void {
    checkReads(this.#own(file), transfers)
    for (const { offsetBytes, bytes } of transfers) this.readSync(file, offsetBytes, bytes)
  }

  readWholeSync(path: string): Uint8Array {
    this.#assertUsable()
    checkPath(path)
    const bytes = this.#calls.now({
      operation: 'read',
      syscall: 'readFile',
      path,
      run: () => {
        const { state } = this.#host
        const found = state.lookup(path)
        if (found === undefined) throw refusal('ENOENT', 'readFile', path)
        if (found.kind === 'directory') throw refusal('EISDIR', 'readFile', path)
        const file = state.file(found.inode)
        const whole = new Uint8Array(file.sizeBytes)
        file.read(0, whole)
        return whole
      },
    })
    this.#countRead(bytes)
    return bytes
  }

  writeManySync(file: IoFile, transfers: readonly Transfer[]): void {
    for (const { offsetBytes, bytes } of checkWrites(this.#own(file), transfers))
      this.writeSync(file, offsetBytes, bytes)
  }

  writeSync(file: IoFile, offsetBytes: number, bytes: Uint8Array): void {
    const own = this.#checked(file, offsetBytes, bytes)
    for (let done = 0; done < bytes.byteLength;) {
      done += this.#calls.now(this.#transfers.write('write', own, offsetBytes + done, bytes.subarray(done)))
    }
    this.#countWrite(bytes)
  }

  writeDsyncSync(file: IoFile, offsetBytes: number, bytes: Uint8Array): void {
    const own = this.#checked(file, offsetBytes, bytes)
    for (let done = 0; done < bytes.byteLength;) {
      done += this.#calls.now(
        this.#transfers.write('writeDsync', own, offsetBytes + done, bytes.subarray(done)),
      )
    }
    this.#countWrite(bytes)
    this.#counters.syncs++
  }

  syncSync(file: IoFile): void {
    this.#calls.now(this.#transfers.sync(this.#own(file)))
    this.#counters.syncs++
  }

  // ---- names ---------------------------------------------------------------------------------------------------

  async rename(from: string, to: string): Promise<void> {
    this.#assertUsable()
    checkPath(from)
    checkPath(to)
    await this.#name('rename', 'rename', from, (state) => {
      state.rename(from, to)
    })
  }

  async link(existing: string, to: string): Promise<void> {
    this.#assertUsable()
    checkPath(existing)
    checkPath(to)
    await this.#name('link', 'link', to, (state) => {
      state.link(existing, to)
    })
  }

  async remove(path: string): Promise<void> {
    this.#assertUsable()
    checkPath(path)
    await this.#name('remove', 'unlink', path, (state) => {
      state.remove(path)
    })
  }

  async list(directory: string): Promise<string[]> {
    this.#assertUsable()
    checkPath(directory)
    this.#counters.otherOperations++
    return this.#call({
      operation: 'list',
      syscall: 'scandir',
      path: directory,
      // The order means nothing, and nobody may come to rely on it.
      run: () => shuffled(this.#host.state.list(directory), this.#random),
    })
  }

  async mkdir(directory: string): Promise<void> {
    this.#assertUsable()
    checkPath(directory)
    await this.#name('mkdir', 'mkdir', directory, (state) => {
      state.makeDirectory(directory)
    })
  }

  async syncDir(directory: string): Promise<void> {
    this.#assertUsable()
    checkPath(directory)
    const upTo = this.#host.state.nameOperationCount
    const commit = (state: DiskState): void => {
      state.commitNames(state.directoryAt(directory, 'open'), upTo)
    }
    await this.#name('syncDir', 'fsync', directory, commit, () => undefined)
    this.#counters.syncs++
  }

  async lock(path: string): Promise<FileLock | 'held' | undefined> {
    this.#assertUsable()
    checkPath(path)
    this.#counters.otherOperations++
    if (this.#options.locks === false) return undefined
    return this.#call({
      operation: 'lock',
      syscall: 'flock',
      path,
      run: () => {
        const { state, locked } = this.#host
        const inode = state.lookup(path)?.inode ?? state.createFile(path).number
        if (locked.has(inode)) return 'held'
        locked.add(inode)
        this.#locks.add(inode)
        return {
          release: () => {
            if (this.#locks.delete(inode)) locked.delete(inode)
            return Promise.resolve()
          },
        }
      },
    })
  }

  // ---- time and processes --------------------------------------------------------------------------------------

  nowMs(): number {
    return this.#clock.nowMs
  }

  /** The virtual clock; each process on a disk begins later than the one before it. */
  unixTimeMs(): number {
    return this.#clock.nowMs
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    this.#assertUsable()
    checkDelay(delayMs)
    if (typeof callback !== 'function') {
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'a timer needs a function to call')
    }
    return this.#setTimer(delayMs, callback)
  }

  #setTimer(delayMs: number, callback: () => void): Timer {
    const timer = this.#clock.setTimer(delayMs, callback)
    this.#watchClock()
    return timer
  }

  /**
   * Moves the virtual clock on, calls back the timers that are due and lets the calls be carried out whose time has come.
   * What those calls lead to, in later turns, finds the clock where it stands then.
   */
  advance(ms: number): void {
    this.#clock.advance(ms)
  }

  #watchClock(): void {
    if (this.#options.autoAdvance !== true || this.#turnComing || this.#clock.alarms === 0) return
    this.#turnComing = true
    setImmediate(() => {
      this.#turnComing = false
      this.#quietTurns++
      if (this.#calls.ready > 0) this.#quietTurns = 0
      if (this.#quietTurns >= QUIET_TURNS) {
        this.#quietTurns = 0
        this.#clock.advanceToNext()
      }
      this.#watchClock()
    })
  }

  /** From the disk's seed: the same process on the same disk gets the same bytes. */
  fillRandom(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#random.below(256)
  }

  processIdentity(): ProcessIdentity {
    return {
      pid: this.#pid,
      startTime: String(this.#pid * 100),
      bootId: `sim-boot-${String(this.#host.state.boot)}`,
      machineId: 'sim-machine',
      pidNamespace: 'pid:[sim]',
    }
  }

  isProcessGone(identity: ProcessIdentity): boolean {
    const here = this.processIdentity()
    if (identity.machineId !== here.machineId || identity.pidNamespace !== here.pidNamespace) return false
    if (identity.bootId !== '' && identity.bootId !== here.bootId) return true
    if (!this.#host.livePids.has(identity.pid)) return true
    return identity.startTime !== '' && identity.startTime !== String(identity.pid * 100)
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose()
    return this.#disposed
  }

  async #dispose(): Promise<void> {
    this.#clock.cancelTimers()
    while (!this.isKilled && (this.#calls.outstanding > 0 || this.#files.size > 0)) {
      await Promise.all([...this.#files].map((file) => this.#close(file)))
      await this.#calls.idle()
    }
    if (this.isKilled) return
    for (const inode of this.#mappedInodes) this.#host.state.file(inode).abandonMappings()
    this.#releaseAll()
  }

  // ---- within --------------------------------------------------------------------------------------------------

  #assertUsable(): void {
    if (this.#disposed !== undefined) throw new HoltError('HOLT_CLOSED', 'this SimIo was disposed')
    if (this.isKilled) throw new HoltError('HOLT_CLOSED', 'this simulated process was killed')
  }

  #own(file: IoFile): SimOpenFile {
    this.#assertUsable()
    if (!(file instanceof SimOpenFile)) throw notOurs()
    file.assertOpen()
    if (!this.#files.has(file)) throw notOurs()
    return file
  }

  #checked(file: IoFile, offsetBytes: number, bytes: Uint8Array): SimOpenFile {
    const own = this.#own(file)
    checkTransfer(offsetBytes, bytes)
    checkMultiples(own, offsetBytes, bytes)
    return own
  }

  #call<T>(step: Step<T>): Promise<T> {
    return this.#calls.later(step)
  }

  /** A change of the file's size or space, done whole or not at all. */
  async #change(
    own: SimOpenFile,
    operation: SimOperation,
    syscall: string,
    run: (state: DiskState) => void,
  ): Promise<void> {
    await this.#call({
      operation,
      syscall,
      path: own.path,
      run: () => {
        assertWritable(own, syscall)
        run(this.#host.state)
      },
      torn: (state, random) => {
        if (own.writable && random.chance(0.5)) run(state)
      },
    })
  }

  async #name(
    operation: SimOperation,
    syscall: string,
    path: string,
    run: (state: DiskState) => void,
    lie?: () => undefined,
  ): Promise<void> {
    this.#counters.otherOperations++
    const step: Step<void> = {
      operation,
      syscall,
      path,
      run: () => {
        run(this.#host.state)
      },
      ...(lie && { lie }),
      torn: (state, random) => {
        if (random.chance(0.5)) run(state)
      },
    }
    await this.#call(step)
  }

  async #readAll(own: SimOpenFile, offsetBytes: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.byteLength;) {
      done += await this.#call(this.#transfers.read(own, offsetBytes, into, done))
    }
    this.#countRead(into)
  }

  async #writeAll(
    operation: 'write' | 'writeDsync',
    own: SimOpenFile,
    offsetBytes: number,
    bytes: Uint8Array,
  ): Promise<void> {
    for (let done = 0; done < bytes.byteLength;) {
      done += await this.#call(
        this.#transfers.write(operation, own, offsetBytes + done, bytes.subarray(done)),
      )
    }
    this.#countWrite(bytes)
  }

  #countRead(into: Uint8Array): void {
    this.#counters.reads++
    this.#counters.readBytes += into.byteLength
  }

  #countWrite(bytes: Uint8Array): void {
    this.#counters.writes++
    this.#counters.writtenBytes += bytes.byteLength
  }
}

/** Runs `operation` on every part at once; throws the first error after all have come back. */
async function allOf(
  parts: readonly Transfer[],
  operation: (part: Transfer) => Promise<void>,
): Promise<void> {
  const errors: unknown[] = []
  await Promise.all(
    parts.map((part) =>
      operation(part).catch((error: unknown) => {
        errors.push(error)
      }),
    ),
  )
  if (errors.length > 0) throw errors[0]
}

function shuffled(names: readonly string[], random: SeededRandom): string[] {
  const left = [...names]
  const result: string[] = []
  while (left.length > 0) result.push(...left.splice(random.below(left.length), 1))
  return result
}

function notOurs(): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', 'the file was not opened by this Io')
}
