import type { SeededRandom } from './seeded-random.js'

/**
 * One file of the simulated disk: what its readers see (*present*), what is on the medium for certain (*stable*), and
 * what the medium may hold instead after a power loss.
 *
 * Content is a list of 4 KiB pages. A page is an immutable value, shared between present, stable and every copy of the
 * disk; a write makes a new one. `undefined` is a page of zeros. The exception are pages of a mapped file: they lie in
 * one buffer that the mapping shows, and change under our hands.
 *
 * ```
 * present   A  B' C'        B' written since the last sync, C' too
 * stable    A  B  C         a sync makes it A B' C'; a power loss leaves A, B or B', C or C', sector by sector
 * ```
 */

export const SECTOR_BYTES = 512
export const SIM_PAGE_BYTES = 4096
const SECTORS_PER_PAGE = SIM_PAGE_BYTES / SECTOR_BYTES
/** Older values of an unsynced sector that are kept as possible ones. */
const CANDIDATES_MAX = 3

export type Page = Uint8Array | undefined

const ZEROS = new Uint8Array(SIM_PAGE_BYTES)

/** A value that a sector had until `until` and that the kernel may have written back meanwhile. */
interface Candidate {
  readonly bytes: Uint8Array
  readonly until: number
}

/** The unsynced pages at the moment a sync was called: what it will make stable, whatever is written meanwhile. */
export interface SyncCapture {
  readonly at: number
  readonly sizeEvents: number
  readonly pages: ReadonlyMap<number, Uint8Array>
}

/** Bytes that a mapping shows. All mappings of a file share one. */
interface MappedBytes {
  bytes: Uint8Array<ArrayBuffer>
  readonly pageCount: number
  sampled: Uint8Array
  users: number
}

export class SimFile {
  readonly number: number
  #present: Page[] = []
  #stable: Page[] = []
  /** Sizes since the last sync that covered one: the stable one first, the present one last. */
  #sizes: number[] = [0]
  /** Size events that syncs have made stable so far; `#sizes[0]` is that event. */
  #sizeEventsBase = 0
  readonly #dirtyPages = new Set<number>()
  readonly #candidates = new Map<number, Candidate[]>()
  /** Sectors that the kernel takes for clean after a failed sync, with the value it thinks it wrote. */
  readonly #failed = new Map<number, Uint8Array>()
  /** Shared with copies of the file until one of them changes it. */
  #allocated: Set<number> = new Set<number>()
  #allocatedIsShared = false
  #mapped: MappedBytes | undefined
  /** Whether stores through a mapping may be among what is unsynced. */
  #mixable = false
  #changes = 0
  #lastCommit = 0
  /** Open descriptions; a file without a name lives until the last is gone. */
  openCount = 0

  constructor(number: number) {
    this.number = number
  }

  get sizeBytes(): number {
    return this.#sizes.at(-1) ?? 0
  }
  /** The size that a power loss leaves at least as a possibility: the last synced one. */
  get stableSizeBytes(): number {
    return this.#sizes[0] ?? 0
  }
  get allocatedBytes(): number {
    return this.#allocated.size * SIM_PAGE_BYTES
  }
  get isMapped(): boolean {
    return this.#mapped !== undefined
  }
  /** Whether a power loss now could show anything but the present content. */
  get isStable(): boolean {
    if (this.#sizes.length > 1 || this.#failed.size > 0) return false
    for (const page of this.#unsyncedPages()) {
      if (!equalPages(this.#present[page], this.#stable[page])) return false
    }
    return true
  }

  /** Pages of the range that have no space yet. */
  pagesToAllocate(offsetBytes: number, lengthBytes: number): number {
    let count = 0
    for (let page = firstPage(offsetBytes); page < endPage(offsetBytes + lengthBytes); page++) {
      if (!this.#allocated.has(page)) count++
    }
    return lengthBytes === 0 ? 0 : count
  }

  read(offsetBytes: number, into: Uint8Array): void {
    forEachPage(offsetBytes, into.byteLength, (page, start, end, at) => {
      into.set((this.#present[page] ?? ZEROS).subarray(start, end), at)
    })
  }

  /** Its present pages, in order; one that is left out is all zeros, and so may be one that is not. */
  pages(): (readonly [number: number, bytes: Uint8Array])[] {
    const pages: (readonly [number, Uint8Array])[] = []
    for (let number = 0; number < this.#present.length; number++) {
      const page = this.#present[number]
      if (page !== undefined) pages.push([number, page])
    }
    return pages
  }

  /** Extends the file where the range reaches beyond its end. */
  write(offsetBytes: number, bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    this.#changes++
    this.#forgetFailures(offsetBytes, bytes.byteLength)
    if (this.#mapped) this.sample()
    forEachPage(offsetBytes, bytes.byteLength, (page, start, end, at) => {
      this.#allocate(page)
      this.#writePage(page, start, bytes.subarray(at, at + end - start))
    })
    const endBytes = offsetBytes + bytes.byteLength
    if (endBytes > this.sizeBytes) this.#sizes.push(endBytes)
  }

  #writePage(page: number, start: number, bytes: Uint8Array): void {
    const old = this.#present[page]
    const mapped = this.#mapped
    if (mapped && page < mapped.pageCount) {
      mapped.bytes.set(bytes, page * SIM_PAGE_BYTES + start)
      return
    }
    if (equalBytes((old ?? ZEROS).subarray(start, start + bytes.byteLength), bytes)) return
    const whole = bytes.byteLength === SIM_PAGE_BYTES
    const fresh = whole ? bytes.slice() : (old ?? ZEROS).slice()
    if (!whole) fresh.set(bytes, start)
    if (this.#dirtyPages.has(page)) this.#keepCandidates(page, old ?? ZEROS, fresh)
    this.#present[page] = whole && equalBytes(fresh, ZEROS) ? undefined : fresh
    this.#dirtyPages.add(page)
  }

  /** Remembers the unsynced sectors of `old` that `fresh` replaces: the kernel may have written them back already. */
  #keepCandidates(page: number, old: Uint8Array, fresh: Uint8Array): void {
    const stable = this.#stable[page] ?? ZEROS
    for (let sector = 0; sector < SECTORS_PER_PAGE; sector++) {
      const before = sectorOf(old, sector)
      if (equalBytes(before, sectorOf(fresh, sector)) || equalBytes(before, sectorOf(stable, sector)))
        continue
      const number = page * SECTORS_PER_PAGE + sector
      const kept = this.#candidates.get(number) ?? []
      kept.push({ bytes: before, until: this.#changes })
      if (kept.length > CANDIDATES_MAX) kept.shift()
      this.#candidates.set(number, kept)
    }
  }

  /** Reserves space for the range and extends the file over it. */
  allocate(offsetBytes: number, lengthBytes: number): void {
    if (lengthBytes === 0) return
    this.#changes++
    for (let page = firstPage(offsetBytes); page < endPage(offsetBytes + lengthBytes); page++)
      this.#allocate(page)
    if (offsetBytes + lengthBytes > this.sizeBytes) this.#sizes.push(offsetBytes + lengthBytes)
  }

  #allocate(page: number): void {
    if (!this.#allocated.has(page)) this.#ownAllocated().add(page)
  }

  #ownAllocated(): Set<number> {
    if (this.#allocatedIsShared) {
      this.#allocated = new Set(this.#allocated)
      this.#allocatedIsShared = false
    }
    return this.#allocated
  }

  #shareAllocated(): Set<number> {
    this.#allocatedIsShared = true
    return this.#allocated
  }

  /** Whether every page of the range has space. */
  isAllocated(offsetBytes: number, lengthBytes: number): boolean {
    return this.pagesToAllocate(offsetBytes, lengthBytes) === 0
  }

  /** Zeros in the range as far as the file reaches; pages that lie wholly in it have no space any more. */
  punchHole(offsetBytes: number, lengthBytes: number): void {
    const endBytes = Math.min(offsetBytes + lengthBytes, this.sizeBytes)
    if (endBytes > offsetBytes) this.write(offsetBytes, new Uint8Array(endBytes - offsetBytes))
    for (const page of this.#allocated) {
      const isWithin = page * SIM_PAGE_BYTES >= offsetBytes
      if (isWithin && (page + 1) * SIM_PAGE_BYTES <= offsetBytes + lengthBytes)
        this.#ownAllocated().delete(page)
    }
  }

  truncate(sizeBytes: number): void {
    this.#changes++
    if (sizeBytes < this.sizeBytes) {
      for (let page = firstPage(sizeBytes); page < this.#present.length; page++) {
        const old = this.#present[page]
        if (old === undefined) continue
        const keep = Math.max(0, sizeBytes - page * SIM_PAGE_BYTES)
        if (keep >= SIM_PAGE_BYTES) continue
        const fresh = new Uint8Array(SIM_PAGE_BYTES)
        fresh.set(old.subarray(0, keep))
        this.#present[page] = keep === 0 ? undefined : fresh
        this.#dirtyPages.add(page)
      }
      for (const page of this.#allocated) {
        if (page >= endPage(sizeBytes)) this.#ownAllocated().delete(page)
      }
      for (const sector of [...this.#candidates.keys(), ...this.#failed.keys()]) {
        if ((sector + 1) * SECTOR_BYTES <= sizeBytes) continue
        this.#candidates.delete(sector)
        this.#failed.delete(sector)
      }
    }
    if (sizeBytes !== this.sizeBytes) this.#sizes.push(sizeBytes)
  }

  // ---- mappings ------------------------------------------------------------------------------------------------

  /** Moves the first `lengthBytes` into a buffer that callers may store into; undefined when a shorter one exists. */
  map(lengthBytes: number): Uint8Array<ArrayBuffer> | undefined {
    const pageCount = endPage(lengthBytes)
    if (this.#mapped === undefined) {
      const bytes = new Uint8Array(pageCount * SIM_PAGE_BYTES)
      for (let page = 0; page < pageCount; page++) {
        const old = this.#present[page]
        if (old) bytes.set(old, page * SIM_PAGE_BYTES)
      }
      this.#mapped = { bytes, pageCount, sampled: bytes.slice(), users: 0 }
      this.#showMapped()
    } else if (this.#mapped.pageCount < pageCount) {
      return undefined
    }
    this.#mixable = true
    this.#mapped.users++
    return this.#mapped.bytes.subarray(0, lengthBytes)
  }

  /** Ends one mapping; with the last one the memory is detached, so that a late store cannot reach the file. */
  unmap(): void {
    const mapped = this.#mapped
    if (mapped === undefined) return
    mapped.users--
    if (mapped.users > 0) return
    this.sample()
    // A transfer is what detaches a buffer on Node 20.
    const moved = structuredClone(mapped.bytes.buffer, { transfer: [mapped.bytes.buffer] })
    this.#settleMapped(new Uint8Array(moved))
  }

  /** The process died: the file keeps the stored bytes, its memory is nobody's any more. */
  abandonMappings(): void {
    if (this.#mapped === undefined) return
    this.sample()
    this.#settleMapped(this.#mapped.bytes.slice())
  }

  #settleMapped(bytes: Uint8Array): void {
    const pageCount = this.#mapped?.pageCount ?? 0
    this.#mapped = undefined
    for (let page = 0; page < pageCount; page++) {
      const content = pageOf(bytes, page)
      const stable = this.#stable[page]
      if (equalBytes(content, stable ?? ZEROS)) {
        this.#present[page] = stable
      } else {
        this.#present[page] = content
        this.#dirtyPages.add(page)
      }
    }
  }

  #showMapped(): void {
    const mapped = this.#mapped
    if (mapped === undefined) return
    for (let page = 0; page < mapped.pageCount; page++) this.#present[page] = pageOf(mapped.bytes, page)
  }

  /** Remembers the values that mapped sectors have had since the last look: each may be what the medium got. */
  sample(): void {
    const mapped = this.#mapped
    if (mapped === undefined || equalBytes(mapped.bytes, mapped.sampled)) return
    this.#changes++
    for (let page = 0; page < mapped.pageCount; page++) {
      const before = pageOf(mapped.sampled, page)
      const now = pageOf(mapped.bytes, page)
      if (equalBytes(before, now)) continue
      this.#keepCandidates(page, before.slice(), now)
      before.set(now)
    }
    for (const [sector, bytes] of this.#failed) {
      const page = Math.floor(sector / SECTORS_PER_PAGE)
      if (page >= mapped.pageCount) continue
      if (!equalBytes(bytes, sectorOf(pageOf(mapped.bytes, page), sector % SECTORS_PER_PAGE))) {
        this.#failed.delete(sector)
      }
    }
  }

  // ---- syncs ---------------------------------------------------------------------------------------------------

  /** What a sync that is called now will cover. */
  capture(): SyncCapture {
    this.sample()
    const pages = new Map<number, Uint8Array>()
    // What a truncation cut off and a later write put back equals the stable content, and must be written all the same.
    const cutFrom = Math.min(Infinity, ...this.#sizes.slice(1))
    for (const page of this.#unsyncedPages()) {
      const present = this.#present[page] ?? ZEROS
      const stable = this.#stable[page] ?? ZEROS
      if (page < firstPage(cutFrom) && equalBytes(present, stable)) continue
      pages.set(page, this.#withoutFailures(page, this.#isShown(page) ? present.slice() : present, stable))
    }
    return { at: ++this.#changes, sizeEvents: this.#sizeEventsBase + this.#sizes.length - 1, pages }
  }

  /** What the kernel would write of a page: sectors that it takes for clean since a failed sync are left out. */
  #withoutFailures(page: number, present: Uint8Array, stable: Uint8Array): Uint8Array {
    let merged: Uint8Array | undefined
    for (let sector = 0; sector < SECTORS_PER_PAGE; sector++) {
      if (!this.#failed.has(page * SECTORS_PER_PAGE + sector)) continue
      merged ??= present.slice()
      sectorOf(merged, sector).set(sectorOf(stable, sector))
    }
    return merged ?? present
  }

  /** The sync that was called at `capture` succeeds. */
  commit(capture: SyncCapture): void {
    // A later call has succeeded already: it covered all of this and more.
    if (capture.at < this.#lastCommit) return
    this.#lastCommit = capture.at
    this.#commitSize(capture.sizeEvents)
    for (const [page, bytes] of capture.pages) {
      this.#stable[page] = equalBytes(bytes, ZEROS) ? undefined : bytes
      this.#settlePage(page, capture.at)
    }
    for (const page of this.#dirtyPages) {
      if (equalPages(this.#present[page], this.#stable[page])) this.#settlePage(page, capture.at)
    }
    if (this.#mapped === undefined && this.#dirtyPages.size === 0) this.#mixable = false
  }

  #settlePage(page: number, at: number): void {
    if (!this.#isShown(page) && equalPages(this.#present[page], this.#stable[page])) {
      this.#present[page] = this.#stable[page]
      this.#dirtyPages.delete(page)
    }
    for (let sector = page * SECTORS_PER_PAGE; sector < (page + 1) * SECTORS_PER_PAGE; sector++) {
      const kept = this.#candidates.get(sector)?.filter((candidate) => candidate.until > at)
      if (kept === undefined) continue
      if (kept.length === 0) this.#candidates.delete(sector)
      else this.#candidates.set(sector, kept)
    }
  }

  #commitSize(events: number): void {
    const done = events - this.#sizeEventsBase
    if (done <= 0) return
    const least = Math.min(...this.#sizes.slice(1, done + 1))
    zeroFrom(this.#stable, least)
    this.#sizes = this.#sizes.slice(done)
    this.#sizeEventsBase = events
    // Zeroing may have made a page differ from its present content again.
    for (let page = firstPage(least); page < this.#present.length; page++) {
      if (!this.#isShown(page) && this.#present[page] !== this.#stable[page]) this.#dirtyPages.add(page)
    }
  }

  /**
   * The sync that was called at `capture` fails: what it should have written counts as clean in the kernel's eyes, so
   * that a later sync succeeds without writing it; each sector may or may not have reached the medium.
   */
  fail(capture: SyncCapture): void {
    for (const [page, bytes] of capture.pages) {
      const stable = this.#stable[page] ?? ZEROS
      const present = this.#present[page] ?? ZEROS
      for (let sector = 0; sector < SECTORS_PER_PAGE; sector++) {
        const wanted = sectorOf(bytes, sector)
        if (equalBytes(wanted, sectorOf(stable, sector))) continue
        // Written again since the call: dirty again.
        if (!equalBytes(wanted, sectorOf(present, sector))) continue
        this.#failed.set(page * SECTORS_PER_PAGE + sector, wanted)
      }
    }
  }

  #forgetFailures(offsetBytes: number, lengthBytes: number): void {
    if (this.#failed.size === 0) return
    const end = Math.ceil((offsetBytes + lengthBytes) / SECTOR_BYTES)
    for (let sector = Math.floor(offsetBytes / SECTOR_BYTES); sector < end; sector++) {
      this.#failed.delete(sector)
    }
  }

  /** One range becomes stable, with the file's size: a write with RWF_DSYNC. Whole sectors count. */
  commitRange(offsetBytes: number, lengthBytes: number): void {
    this.#changes++
    this.#commitSize(this.#sizeEventsBase + this.#sizes.length - 1)
    const end = Math.ceil((offsetBytes + lengthBytes) / SECTOR_BYTES)
    for (let sector = Math.floor(offsetBytes / SECTOR_BYTES); sector < end; sector++) {
      const page = Math.floor(sector / SECTORS_PER_PAGE)
      const inPage = sector % SECTORS_PER_PAGE
      const wanted = sectorOf(this.#present[page] ?? ZEROS, inPage)
      if (!equalBytes(wanted, sectorOf(this.#stable[page] ?? ZEROS, inPage))) {
        const fresh = (this.#stable[page] ?? ZEROS).slice()
        sectorOf(fresh, inPage).set(wanted)
        this.#stable[page] = fresh
      }
      this.#candidates.delete(sector)
      if (!this.#isShown(page) && equalPages(this.#present[page], this.#stable[page])) {
        this.#present[page] = this.#stable[page]
        this.#dirtyPages.delete(page)
      }
    }
  }

  /** A write with RWF_DSYNC fails in its second half: the range was written, its sync was not. */
  failRange(offsetBytes: number, lengthBytes: number): void {
    const end = Math.ceil((offsetBytes + lengthBytes) / SECTOR_BYTES)
    for (let sector = Math.floor(offsetBytes / SECTOR_BYTES); sector < end; sector++) {
      const page = Math.floor(sector / SECTORS_PER_PAGE)
      const present = sectorOf(this.#present[page] ?? ZEROS, sector % SECTORS_PER_PAGE)
      const stable = sectorOf(this.#stable[page] ?? ZEROS, sector % SECTORS_PER_PAGE)
      if (!equalBytes(present, stable)) this.#failed.set(sector, present.slice())
    }
  }

  // ---- damage ---------------------------------------------------------------------------------------------------

  /**
   * Flips a bit of the medium, within the synced size. A page without unsynced bytes shows it at once; of a dirty one
   * the cache has the right bytes, and the next sync writes them.
   */
  flipStableBit(offsetBytes: number, bit: number): void {
    this.sample()
    const page = firstPage(offsetBytes)
    const at = offsetBytes - page * SIM_PAGE_BYTES
    const isClean = !this.#dirtyPages.has(page) && equalPages(this.#present[page], this.#stable[page])
    const rotten = (this.#stable[page] ?? ZEROS).slice()
    rotten[at] = (rotten[at] ?? 0) ^ (1 << bit)
    this.#stable[page] = rotten
    if (!isClean) return
    const mapped = this.#mapped
    if (mapped && this.#isShown(page)) {
      // Both at once: nobody stored anything.
      pageOf(mapped.bytes, page)[at] = rotten[at] ?? 0
      pageOf(mapped.sampled, page)[at] = rotten[at] ?? 0
    } else {
      this.#present[page] = rotten
    }
  }

  // ---- copies --------------------------------------------------------------------------------------------------

  /** The same file on a copy of the disk; mappings do not reach the copy. */
  clone(): SimFile {
    this.sample()
    const copy = new SimFile(this.number)
    copy.#sizes = [...this.#sizes]
    copy.#sizeEventsBase = this.#sizeEventsBase
    copy.#allocated = this.#shareAllocated()
    copy.#allocatedIsShared = true
    copy.#present = this.#present.slice()
    copy.#stable = this.#stable.slice()
    for (const page of this.#dirtyPages) copy.#dirtyPages.add(page)
    for (const [sector, kept] of this.#candidates) copy.#candidates.set(sector, [...kept])
    for (const [sector, bytes] of this.#failed) copy.#failed.set(sector, bytes)
    copy.#mixable = this.#mixable
    copy.#changes = this.#changes
    copy.#lastCommit = this.#lastCommit
    copy.openCount = this.openCount
    const mapped = this.#mapped
    if (mapped) {
      copy.#mapped = { ...mapped, bytes: mapped.bytes.slice(), sampled: mapped.sampled }
      copy.#settleMapped(copy.#mapped.bytes)
    }
    return copy
  }

  /**
   * A file as a power loss may leave it. Size and content are drawn apart, under one rule: what was written behind a
   * change of size that is lost is lost too, and what a change of size cut off does not come back.
   *
   * @param keep - probability that an unsynced sector, or size, is found on the medium
   */
  afterPowerLoss(random: SeededRandom, keep: number): SimFile {
    this.sample()
    const after = new SimFile(this.number)
    let event = 0
    while (event < this.#sizes.length - 1 && random.chance(Math.sqrt(keep))) event++
    const sizeBytes = this.#sizes[event] ?? 0
    const lostFrom = Math.min(Infinity, ...this.#sizes.slice(event + 1))
    // What a page was before its sectors are drawn: read from here, written to `after`.
    const base = this.#stable.slice()
    zeroFrom(base, Math.min(Infinity, ...this.#sizes.slice(1, event + 1)))

    after.#stable = base.slice()
    for (const page of this.#unsyncedPages()) {
      const fresh = (base[page] ?? ZEROS).slice()
      for (let sector = 0; sector < SECTORS_PER_PAGE; sector++) {
        const room = lostFrom - (page * SIM_PAGE_BYTES + sector * SECTOR_BYTES)
        if (room <= 0) break
        const into = sectorOf(fresh, sector)
        const tail = room < SECTOR_BYTES ? into.slice(room) : undefined
        this.#drawSector(page, sector, into, random, keep)
        if (tail) into.set(tail, room)
      }
      after.#stable[page] = equalBytes(fresh, ZEROS) ? undefined : fresh
    }
    zeroFrom(after.#stable, sizeBytes)
    after.#present = after.#stable.slice()
    after.#sizes = [sizeBytes]
    after.#allocated = this.#shareAllocated()
    after.#allocatedIsShared = true
    for (const page of this.#allocated) if (page >= endPage(sizeBytes)) after.#ownAllocated().delete(page)
    return after
  }

  #drawSector(page: number, sector: number, into: Uint8Array, random: SeededRandom, keep: number): void {
    const number = page * SECTORS_PER_PAGE + sector
    const present = sectorOf(this.#present[page] ?? ZEROS, sector)
    const candidates = this.#candidates.get(number) ?? []
    if (candidates.length === 0 && equalBytes(present, into)) return
    // What the kernel wrote back, or lost in a failed sync, it does not write again: less likely, as likely as not.
    if (!random.chance(this.#failed.has(number) ? keep / 2 : keep)) return
    const older = candidates.length > 0 && random.chance(0.3) ? random.pick(candidates).bytes : undefined
    const chosen = older ?? present
    if (this.#mixable && random.chance(0.3)) {
      for (let i = 0; i < SECTOR_BYTES; i++) if (random.chance(0.5)) into[i] = chosen[i] ?? 0
    } else {
      into.set(chosen)
    }
  }

  #isShown(page: number): boolean {
    return this.#mapped !== undefined && page < this.#mapped.pageCount
  }

  #unsyncedPages(): number[] {
    const pages = new Set(this.#dirtyPages)
    for (let page = 0; page < (this.#mapped?.pageCount ?? 0); page++) pages.add(page)
    return [...pages].sort((a, b) => a - b)
  }
}

function firstPage(offsetBytes: number): number {
  return Math.floor(offsetBytes / SIM_PAGE_BYTES)
}
function endPage(endBytes: number): number {
  return Math.ceil(endBytes / SIM_PAGE_BYTES)
}
function sectorOf(page: Uint8Array, sector: number): Uint8Array {
  return page.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES)
}
function pageOf(bytes: Uint8Array, page: number): Uint8Array {
  return bytes.subarray(page * SIM_PAGE_BYTES, (page + 1) * SIM_PAGE_BYTES)
}
function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a === b || Buffer.compare(a, b) === 0
}
function equalPages(a: Page, b: Page): boolean {
  return a === b || equalBytes(a ?? ZEROS, b ?? ZEROS)
}

/** Replaces pages so that every byte from `offsetBytes` on is zero. */
function zeroFrom(pages: Page[], offsetBytes: number): void {
  for (let page = firstPage(offsetBytes); page < pages.length; page++) {
    const old = pages[page]
    if (old === undefined) continue
    const keep = Math.max(0, offsetBytes - page * SIM_PAGE_BYTES)
    if (keep >= SIM_PAGE_BYTES) continue
    const fresh = new Uint8Array(SIM_PAGE_BYTES)
    fresh.set(old.subarray(0, keep))
    pages[page] = keep === 0 ? undefined : fresh
  }
}

/** Calls back for each page that the range touches: its number, where in it, and where in the range. */
function forEachPage(
  offsetBytes: number,
  lengthBytes: number,
  visit: (page: number, start: number, end: number, at: number) => void,
): void {
  let at = 0
  while (at < lengthBytes) {
    const position = offsetBytes + at
    const page = firstPage(position)
    const start = position - page * SIM_PAGE_BYTES
    const end = Math.min(SIM_PAGE_BYTES, start + lengthBytes - at)
    visit(page, start, end, at)
    at += end - start
  }
}
