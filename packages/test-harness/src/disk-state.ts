import { HoltError } from '@holt/errors'

import type { SeededRandom } from './seeded-random.js'
import { SIM_PAGE_BYTES, SimFile } from './sim-file.js'

/** Larger files are `EFBIG`: nothing that runs in memory needs them. */
export const MAX_SIM_FILE_BYTES = 2 ** 34

const ROOT = 1

/** A name in a directory gets or loses what it stands for. */
interface NameChange {
  readonly directory: number
  readonly name: string
  readonly inode: number | undefined
}

/** Changes that the medium gets all or none of: one for a create, link or remove, two for a rename. */
interface NameOperation {
  readonly number: number
  readonly changes: readonly NameChange[]
}

interface SimDirectory {
  readonly number: number
  readonly present: Map<string, number>
  readonly stable: Map<string, number>
}

/** How a power loss treats what was not synced: probabilities that it is found on the medium. */
export interface PowerLossStyle {
  readonly keepSectors: number
  readonly keepNames: number
}

/**
 * Files and names of a simulated disk, with what of them is stable. Everything here is synchronous and whole: calls,
 * their order and their failures are `SimIo`'s.
 *
 * Names are a journal: each operation since the last sync of a directory it touches may be lost, as long as of one name
 * an operation is not kept without those before it. So the names of a directory are independent of each other, and a
 * rename is found done or not done.
 */
export class DiskState {
  readonly #files = new Map<number, SimFile>()
  /** Of the files, those that are still another disk's: see {@link glance}. */
  #borrowed: Set<number> | undefined
  readonly #directories = new Map<number, SimDirectory>()
  #operations: NameOperation[] = []
  #operationCount = 0
  #lastInode = ROOT
  /** Bytes of file space; more is `ENOSPC`. */
  capacityBytes = Infinity
  /** Goes up with every power loss. */
  boot = 1
  lastPid = 1000

  constructor() {
    this.#directories.set(ROOT, { number: ROOT, present: new Map(), stable: new Map() })
  }

  file(inode: number): SimFile {
    const file = this.#files.get(inode)
    if (file === undefined)
      throw new HoltError('HOLT_INTERNAL', `the simulated disk has no file ${String(inode)}`)
    if (this.#borrowed?.delete(inode) !== true) return file
    const own = file.clone()
    this.#files.set(inode, own)
    return own
  }

  get files(): Iterable<SimFile> {
    return this.#files.values()
  }

  get usedBytes(): number {
    // A removed file's space is free when its last user closes it, whatever a power loss may still bring back.
    const named = this.#reachable((directory) => directory.present.values(), [])
    let bytes = 0
    for (const [inode, file] of this.#files) {
      if (named.has(inode) || file.openCount > 0) bytes += file.allocatedBytes
    }
    return bytes
  }

  /** How many of `pages` further pages fit. */
  roomForPages(pages: number): number {
    if (this.capacityBytes === Infinity) return pages
    return Math.max(0, Math.min(pages, Math.floor((this.capacityBytes - this.usedBytes) / SIM_PAGE_BYTES)))
  }

  // ---- names ---------------------------------------------------------------------------------------------------

  /** What the path stands for. */
  lookup(path: string): { readonly kind: 'file' | 'directory'; readonly inode: number } | undefined {
    const { parent, name } = splitPath(path)
    if (name === '') return { kind: 'directory', inode: ROOT }
    const inode = this.#findDirectory(parent)?.present.get(name)
    if (inode === undefined) return undefined
    return { kind: this.#directories.has(inode) ? 'directory' : 'file', inode }
  }

  createFile(path: string): SimFile {
    const { directory, name } = this.#parentOf(path, 'open')
    const file = new SimFile(++this.#lastInode)
    this.#files.set(file.number, file)
    this.#change([{ directory: directory.number, name, inode: file.number }])
    return file
  }

  link(existing: string, to: string): void {
    const found = this.#fileAt(existing, 'link')
    const { directory, name } = this.#parentOf(to, 'link')
    if (directory.present.has(name)) throw refusal('EEXIST', 'link', to)
    this.#change([{ directory: directory.number, name, inode: found }])
  }

  remove(path: string): void {
    this.#fileAt(path, 'unlink')
    const { directory, name } = this.#parentOf(path, 'unlink')
    this.#change([{ directory: directory.number, name, inode: undefined }])
    this.#dropUnreachable()
  }

  rename(from: string, to: string): void {
    const found = this.lookup(from)
    if (found === undefined) throw refusal('ENOENT', 'rename', from)
    const source = this.#parentOf(from, 'rename')
    const target = this.#parentOf(to, 'rename')
    const replaced = this.lookup(to)
    if (replaced?.inode === found.inode) return
    if (replaced?.kind === 'directory') {
      if (found.kind === 'file') throw refusal('EISDIR', 'rename', to)
      if ((this.#directories.get(replaced.inode)?.present.size ?? 0) > 0)
        throw refusal('ENOTEMPTY', 'rename', to)
    } else if (replaced && found.kind === 'directory') {
      throw refusal('ENOTDIR', 'rename', to)
    }
    this.#change([
      { directory: source.directory.number, name: source.name, inode: undefined },
      { directory: target.directory.number, name: target.name, inode: found.inode },
    ])
    this.#dropUnreachable()
  }

  list(path: string): string[] {
    const directory = this.#findDirectory(components(path))
    if (directory) return [...directory.present.keys()]
    throw refusal(this.lookup(path) ? 'ENOTDIR' : 'ENOENT', 'scandir', path)
  }

  /** Paths of all files, in an order that depends on nothing but the names that were made. */
  filePaths(): string[] {
    const paths: string[] = []
    const queue: { readonly path: string; readonly inode: number }[] = [{ path: '', inode: ROOT }]
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const directory = this.#directories.get(next.inode)
      if (directory === undefined) paths.push(next.path)
      for (const [name, inode] of directory?.present ?? [])
        queue.push({ path: `${next.path}/${name}`, inode })
    }
    return paths.sort()
  }

  makeDirectory(path: string): void {
    let directory = this.#root()
    for (const name of components(path)) {
      const inode = directory.present.get(name)
      if (inode !== undefined) {
        const found = this.#directories.get(inode)
        if (found === undefined) throw refusal('ENOTDIR', 'mkdir', path)
        directory = found
        continue
      }
      const made: SimDirectory = { number: ++this.#lastInode, present: new Map(), stable: new Map() }
      this.#directories.set(made.number, made)
      this.#change([{ directory: directory.number, name, inode: made.number }])
      directory = made
    }
  }

  #change(changes: readonly NameChange[]): void {
    applyChanges(changes, (directory) => this.#directories.get(directory)?.present)
    this.#operations.push({ number: ++this.#operationCount, changes })
  }

  /** Marks what a sync of a directory that is called now will cover. */
  get nameOperationCount(): number {
    return this.#operationCount
  }

  /** Throws `ENOENT` or `ENOTDIR` as `list` does. */
  directoryAt(path: string, syscall: string): number {
    const directory = this.#findDirectory(components(path))
    if (directory) return directory.number
    throw refusal(this.lookup(path) ? 'ENOTDIR' : 'ENOENT', syscall, path)
  }

  /** Operations up to number `upTo` that touch the directory become stable, and what they rest on elsewhere. */
  commitNames(directory: number, upTo: number): void {
    const needed = new Set<string>()
    const done = new Set<number>()
    for (const operation of this.#operations.toReversed()) {
      const touches =
        operation.number <= upTo && operation.changes.some((change) => change.directory === directory)
      if (!touches && !operation.changes.some((change) => needed.has(nameId(change)))) continue
      done.add(operation.number)
      for (const change of operation.changes) needed.add(nameId(change))
    }
    for (const { number, changes } of this.#operations) {
      if (done.has(number)) applyChanges(changes, (inode) => this.#directories.get(inode)?.stable)
    }
    this.#operations = this.#operations.filter(({ number }) => !done.has(number))
    this.#dropUnreachable()
  }

  // ---- copies --------------------------------------------------------------------------------------------------

  /** The same disk, page cache included, on its own from here on. */
  clone(): DiskState {
    const copy = this.glance()
    for (const inode of this.#files.keys()) copy.file(inode)
    return copy
  }

  /** As {@link clone}, good until this disk changes: a file is copied when it is first asked for. */
  glance(): DiskState {
    const copy = this.#bare()
    copy.#borrowed = new Set(this.#files.keys())
    for (const [inode, file] of this.#files) copy.#files.set(inode, file)
    for (const [inode, { number, present, stable }] of this.#directories) {
      copy.#directories.set(inode, { number, present: new Map(present), stable: new Map(stable) })
    }
    copy.#operations = [...this.#operations]
    return copy
  }

  /** A disk as a power loss may leave it. */
  afterPowerLoss(random: SeededRandom, style: PowerLossStyle): DiskState {
    const after = this.#bare()
    after.boot = this.boot + 1
    for (const [inode, { number, stable }] of this.#directories) {
      after.#directories.set(inode, { number, present: new Map(stable), stable: new Map(stable) })
    }
    const lost = new Set<string>()
    for (const { changes } of this.#operations) {
      if (changes.some((change) => lost.has(nameId(change))) || !random.chance(style.keepNames)) {
        for (const change of changes) lost.add(nameId(change))
      } else {
        applyChanges(changes, (inode) => after.#directories.get(inode)?.stable)
        applyChanges(changes, (inode) => after.#directories.get(inode)?.present)
      }
    }
    for (const [inode, file] of this.#files) {
      after.#files.set(inode, file.afterPowerLoss(random, style.keepSectors))
    }
    after.#dropUnreachable()
    return after
  }

  /** No process has anything open any more: files without a name go. */
  closeAll(): void {
    for (const file of this.#files.values()) {
      file.abandonMappings()
      file.openCount = 0
    }
    this.#dropUnreachable()
  }

  #bare(): DiskState {
    const copy = new DiskState()
    copy.#operationCount = this.#operationCount
    copy.#lastInode = this.#lastInode
    copy.capacityBytes = this.capacityBytes
    copy.boot = this.boot
    copy.lastPid = this.lastPid
    return copy
  }

  /** Drops files that no name, present or stable or on its way, and no open description stands for. */
  dropUnreachable(): void {
    this.#dropUnreachable()
  }

  #dropUnreachable(): void {
    const pending = this.#operations.flatMap(({ changes }) => changes.flatMap(({ inode }) => inode ?? []))
    const reached = this.#reachable(
      ({ present, stable }) => [...present.values(), ...stable.values()],
      pending,
    )
    for (const [inode, file] of this.#files) {
      if (!reached.has(inode) && file.openCount === 0) this.#files.delete(inode)
    }
  }

  #reachable(entries: (directory: SimDirectory) => Iterable<number>, also: readonly number[]): Set<number> {
    const reached = new Set<number>()
    const queue = [ROOT, ...also]
    for (let inode = queue.pop(); inode !== undefined; inode = queue.pop()) {
      if (reached.has(inode)) continue
      reached.add(inode)
      const directory = this.#directories.get(inode)
      if (directory) queue.push(...entries(directory))
    }
    return reached
  }

  #root(): SimDirectory {
    const root = this.#directories.get(ROOT)
    if (root === undefined) throw new HoltError('HOLT_INTERNAL', 'the simulated disk lost its root')
    return root
  }

  #findDirectory(path: readonly string[]): SimDirectory | undefined {
    let directory: SimDirectory | undefined = this.#root()
    for (const name of path) {
      const inode: number | undefined = directory.present.get(name)
      directory = inode === undefined ? undefined : this.#directories.get(inode)
      if (directory === undefined) return undefined
    }
    return directory
  }

  #parentOf(path: string, syscall: string): { readonly directory: SimDirectory; readonly name: string } {
    const { parent, name } = splitPath(path)
    const directory = this.#findDirectory(parent)
    if (directory === undefined) {
      const inTheWay = parent.some((_, i) => this.lookup(parent.slice(0, i + 1).join('/'))?.kind === 'file')
      throw refusal(inTheWay ? 'ENOTDIR' : 'ENOENT', syscall, path)
    }
    if (name === '') throw refusal('EBUSY', syscall, path)
    return { directory, name }
  }

  #fileAt(path: string, syscall: string): number {
    const found = this.lookup(path)
    if (found === undefined) throw refusal('ENOENT', syscall, path)
    if (found.kind === 'directory') throw refusal(syscall === 'link' ? 'EPERM' : 'EISDIR', syscall, path)
    return found.inode
  }
}

/** The system's refusal, for `SimIo` to report as the error that every Io gives for it. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly errno: string
  readonly syscall: string
  readonly path: string

  constructor(errno: string, syscall: string, path: string) {
    super(`${syscall} of '${path}': ${errno}`)
    this.errno = errno
    this.syscall = syscall
    this.path = path
  }
}

export function refusal(errno: string, syscall: string, path: string): Refusal {
  return new Refusal(errno, syscall, path)
}

function nameId({ directory, name }: NameChange): string {
  return `${String(directory)}/${name}`
}

function applyChanges(
  changes: readonly NameChange[],
  entriesOf: (directory: number) => Map<string, number> | undefined,
): void {
  for (const { directory, name, inode } of changes) {
    if (inode === undefined) entriesOf(directory)?.delete(name)
    else entriesOf(directory)?.set(name, inode)
  }
}

/** Few different paths are asked for, and each again and again. */
const knownPaths = new Map<string, readonly string[]>()
const MOST_KNOWN_PATHS = 1_000

/** Relative paths begin at the root, too. */
function components(path: string): readonly string[] {
  const known = knownPaths.get(path)
  if (known !== undefined) return known
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  if (knownPaths.size >= MOST_KNOWN_PATHS) knownPaths.clear()
  knownPaths.set(path, parts)
  return parts
}

function splitPath(path: string): { readonly parent: readonly string[]; readonly name: string } {
  const parts = components(path)
  return { parent: parts.slice(0, -1), name: parts.at(-1) ?? '' }
}
