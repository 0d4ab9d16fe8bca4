import { HoltError, isHoltError } from '@holt/errors'
import type { FileLock, Io, IoFile, ProcessIdentity } from '@holt/uring-native'

/**
 * The lock that keeps a second writer out, in this process or another.
 *
 * `lock` is a file made whole by `link()`, so that it is never seen half-written: it names its holder. Where the system
 * has flock, `lock.flock` is locked as well; it is never removed, and tells at once that a holder is gone. Without
 * flock a lock file is stale only if its holder's process is certainly over.
 *
 * A stale file is taken over by `link()`ing one's own to `lock.<its nonce>`, which one taker wins; the winner reads
 * `lock` again, and renames its own file over it if the nonce is still the same.
 */
interface Holder extends ProcessIdentity {
  readonly nonce: string
  readonly hasFlock: boolean
}

export const LOCK_FILE = 'lock'
export const FLOCK_FILE = 'lock.flock'
const MOST_ROUNDS = 8
const MOST_LOCK_BYTES = 4_096
/** The nonce of a file that names nobody. */
const TORN = 'torn'

export class StoreLock {
  readonly #io: Io
  readonly #directory: string
  readonly #nonce: string
  readonly #flock: FileLock | undefined
  /** Of the file under its first name, which nobody needs any more. */
  readonly #tidied: Promise<void>

  private constructor(
    io: Io,
    directory: string,
    nonce: string,
    flock: FileLock | undefined,
    tidied: Promise<void>,
  ) {
    this.#io = io
    this.#directory = directory
    this.#nonce = nonce
    this.#flock = flock
    this.#tidied = tidied
  }

  /** Throws `HOLT_LOCKED`, naming the holder. */
  static async acquire(io: Io, directory: string): Promise<StoreLock> {
    const flock = await io.lock(`${directory}/${FLOCK_FILE}`)
    if (flock === 'held') throw locked(directory, await readHolder(io, `${directory}/${LOCK_FILE}`))
    const nonceBytes = Buffer.alloc(16)
    io.fillRandom(nonceBytes)
    const nonce = nonceBytes.toString('hex')
    const own = `${directory}/${LOCK_FILE}.own.${nonce}`
    let file: IoFile | undefined
    try {
      const identity = io.processIdentity()
      file = await io.open(own, { access: 'readwrite', create: true, exclusive: true })
      await writeHolder(io, file, { ...identity, nonce, hasFlock: flock !== undefined })
      await takeLock(io, directory, own, flock !== undefined)
    } catch (error) {
      await tidyUp(io, own, file)
      await flock?.release()
      throw error
    }
    return new StoreLock(io, directory, nonce, flock, tidyUp(io, own, file))
  }

  /** To be called before the first change: then the file names its holder after a power loss too. */
  async settle(): Promise<void> {
    if (this.#flock === undefined) return
    let file: IoFile
    try {
      file = await this.#io.open(`${this.#directory}/${LOCK_FILE}`, { access: 'readwrite' })
    } catch (error) {
      // Removed by hand: the lock that counts is flock's.
      if (isHoltError(error, 'HOLT_NOT_FOUND')) return
      throw error
    }
    try {
      await this.#io.sync(file)
    } finally {
      await this.#io.close(file)
    }
  }

  async release(): Promise<void> {
    await this.#tidied
    try {
      const holder = await readHolder(this.#io, `${this.#directory}/${LOCK_FILE}`)
      if (holder?.nonce === this.#nonce) await removeIfThere(this.#io, `${this.#directory}/${LOCK_FILE}`)
    } finally {
      await this.#flock?.release()
    }
  }
}

async function takeLock(io: Io, directory: string, own: string, haveFlock: boolean): Promise<void> {
  const target = `${directory}/${LOCK_FILE}`
  for (let round = 0; round < MOST_ROUNDS; round++) {
    if (await linkIfFree(io, own, target)) return
    const holder = await readHolder(io, target)
    if (holder === undefined) continue
    if (!isStale(io, holder, haveFlock)) throw locked(directory, holder)
    const claim = `${directory}/${LOCK_FILE}.${holder.nonce}`
    if (!(await linkIfFree(io, own, claim))) {
      const rival = await readHolder(io, claim)
      if (rival === undefined) continue
      if (!isStale(io, rival, haveFlock)) throw locked(directory, rival)
      await removeIfThere(io, claim)
      continue
    }
    try {
      const still = await readHolder(io, target)
      if (still?.nonce !== holder.nonce) continue
      await io.rename(own, target)
      return
    } finally {
      await removeIfThere(io, claim)
    }
  }
  throw new HoltError('HOLT_LOCKED', `the lock of ${directory} changes hands all the time; try again`, {
    path: target,
  })
}

function isStale(io: Io, holder: Holder, haveFlock: boolean): boolean {
  // Whoever held it with flock would still hold that.
  return (holder.hasFlock && haveFlock) || io.isProcessGone(holder)
}

function locked(directory: string, holder: Holder | undefined): HoltError {
  const who =
    holder === undefined ? 'another process or another open of this one' : `process ${String(holder.pid)}`
  return new HoltError(
    'HOLT_LOCKED',
    `${directory} is open in ${who}; if that is certainly over, remove the file '${LOCK_FILE}' in it and open again`,
    { path: `${directory}/${LOCK_FILE}` },
  )
}

async function linkIfFree(io: Io, own: string, to: string): Promise<boolean> {
  try {
    await io.link(own, to)
    return true
  } catch (error) {
    if (isHoltError(error, 'HOLT_EXISTS')) return false
    throw error
  }
}

async function removeIfThere(io: Io, path: string): Promise<void> {
  try {
    await io.remove(path)
  } catch (error) {
    if (!isHoltError(error, 'HOLT_NOT_FOUND')) throw error
  }
}

async function writeHolder(io: Io, file: IoFile, holder: Holder): Promise<void> {
  // A few bytes for the page cache: to wait for another thread would take longer.
  io.writeSync(file, 0, new TextEncoder().encode(`${JSON.stringify(holder)}\n`))
  // A file that a power loss has torn is stale for whoever gets flock; without flock nobody could tell.
  if (!holder.hasFlock) await io.sync(file)
}

/** A name that cannot be removed is in nobody's way: it is never used again. */
async function tidyUp(io: Io, own: string, file: IoFile | undefined): Promise<void> {
  await Promise.allSettled([file === undefined ? undefined : io.close(file), io.remove(own)])
}

/** Whether somebody has the store open for writing, as far as its lock file tells. Changes nothing. */
export async function isLockHeld(io: Io, directory: string): Promise<boolean> {
  const holder = await readHolder(io, `${directory}/${LOCK_FILE}`)
  return holder !== undefined && holder.nonce !== TORN && !io.isProcessGone(holder)
}

/** The holder that a lock file names; `undefined` if it is gone. A file that cannot be read counts as held by nobody known. */
async function readHolder(io: Io, path: string): Promise<Holder | undefined> {
  let file
  try {
    file = await io.open(path, { access: 'read' })
  } catch (error) {
    if (isHoltError(error, 'HOLT_NOT_FOUND')) return undefined
    throw error
  }
  try {
    const bytes = new Uint8Array(Math.min((await io.stat(file)).sizeBytes, MOST_LOCK_BYTES))
    await io.read(file, 0, bytes)
    return parseHolder(Buffer.from(bytes).toString('utf8'))
  } finally {
    await io.close(file)
  }
}

/** After a power loss a lock file may be empty or torn: its writer is then gone with that boot, and the file is stale. */
function parseHolder(text: string): Holder {
  const lost: Holder = {
    pid: 0,
    startTime: '',
    bootId: '',
    machineId: '',
    pidNamespace: '',
    nonce: TORN,
    hasFlock: true,
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return lost
  }
  if (typeof value !== 'object' || value === null) return lost
  const fields = value as Partial<Record<keyof Holder, unknown>>
  const field = (name: keyof Holder): string => (typeof fields[name] === 'string' ? fields[name] : '')
  return {
    pid: typeof fields.pid === 'number' ? fields.pid : 0,
    startTime: field('startTime'),
    bootId: field('bootId'),
    machineId: field('machineId'),
    pidNamespace: field('pidNamespace'),
    nonce: field('nonce') || TORN,
    hasFlock: fields.hasFlock === true,
  }
}
