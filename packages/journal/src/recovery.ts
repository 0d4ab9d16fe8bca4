/**
 * Which segments are the log. It is the chain from the highest header backwards, over the predecessors that headers
 * name, as far as they are there (older ones were recycled). Of each segment but the last, records count up to the end
 * that its successor names; what lies behind it is not read. Segments off the chain are dead.
 *
 * ```
 *   3 ◄─── 4 ◄─────────── 6 ◄─── 7        7 was prepared ahead: it names 6's size as 6's end
 *          │ ended at 9 216, says 6       6 was begun by a recovery, which found 4 to end there
 *          5 (dead: nobody names it)
 * ```
 *
 * Whoever holds an image needs the segments from its position on. Those before are history: kept for followers, or not put
 * away yet. Opening reads nothing of them, so neither their number nor their state is of weight; {@link readHistory} does.
 */
import { HoltError, isHoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import { lsn, lsnOffset, lsnSegment, type Lsn } from './contract.js'
import { RECORD_ALIGNMENT_BYTES } from './record.js'
import { decodeSegmentHeader, FIRST_RECORD_OFFSET, type SegmentHeader } from './segment-header.js'
import { journalPath, segmentNumberOf } from './segment-names.js'

export interface FoundSegment {
  readonly path: string
  readonly header: SegmentHeader
}

export interface ChainSegment extends FoundSegment {
  /** Where its records end at the latest: what the successor names, or its size. */
  readonly limitBytes: number
}

/** A file with a segment's name, of which no more is known. */
export interface NamedSegment {
  readonly number: number
  readonly path: string
}

export interface FoundLog {
  /** Oldest first. Empty for a store without a journal. */
  readonly chain: readonly ChainSegment[]
  readonly dead: readonly FoundSegment[]
  /** Before the position that is needed. Oldest first. */
  readonly history: readonly NamedSegment[]
  /** Of all segments found; 0 without any. */
  readonly highestNumber: number
  readonly highestSeqFloor: number
  /** The highest stable mark of all headers read. */
  readonly stableMark: Lsn
}

/**
 * Reads the headers of a directory's segments from that of `neededFrom` on, of all without it, and finds the chain. Changes
 * nothing. `names` saves the listing.
 *
 * @throws HoltError `HOLT_CORRUPT` naming the file; `HOLT_VERSION`; when `readOnly`, `HOLT_BUSY` if a file went away
 * meanwhile.
 */
export async function findLog(
  io: Io,
  directory: string,
  storeId: Uint8Array,
  readOnly: boolean,
  names?: readonly string[],
  neededFrom?: Lsn,
): Promise<FoundLog> {
  const found = new Map<number, FoundSegment>()
  const history: NamedSegment[] = []
  const firstNeeded = neededFrom === undefined ? 0 : lsnSegment(neededFrom)
  let highestNumber = 0
  for (const name of names ?? (await io.list(directory))) {
    const number = segmentNumberOf(name)
    if (number === undefined) continue
    const path = journalPath(directory, name)
    highestNumber = Math.max(highestNumber, number)
    if (number < firstNeeded) {
      history.push({ number, path })
      continue
    }
    try {
      found.set(number, { path, header: await readHeader(io, path, number, storeId) })
    } catch (error) {
      if (readOnly && isHoltError(error, 'HOLT_NOT_FOUND')) {
        throw new HoltError(
          'HOLT_BUSY',
          `${path} was recycled while the journal was being opened; try again`,
          {
            cause: error,
          },
        )
      }
      throw error
    }
  }
  history.sort((a, b) => a.number - b.number)
  let highestSeqFloor = 0
  let stableMark = lsn(0, 0)
  for (const { header } of found.values()) {
    highestSeqFloor = Math.max(highestSeqFloor, header.seqFloor)
    stableMark = Math.max(stableMark, lsn(header.markSegment, header.markOffset)) as Lsn
  }

  const chain: ChainSegment[] = []
  let current = found.get(highestNumber)
  let limitBytes = current?.header.segmentBytes ?? 0
  while (current !== undefined) {
    checkLimit(current, limitBytes)
    chain.unshift({ ...current, limitBytes })
    found.delete(current.header.number)
    limitBytes = current.header.predecessorEndBytes
    current = found.get(current.header.predecessorNumber)
  }
  return { chain, dead: [...found.values()], history, highestNumber, highestSeqFloor, stableMark }
}

/** What lies before the segments that recovery needs. */
export interface History {
  /** The chain's continuation backwards, as far as it goes. Oldest first. */
  readonly chain: readonly ChainSegment[]
  /** Why it goes no further, if that is not because the next one is not there. */
  readonly damaged: (NamedSegment & { readonly error: HoltError }) | undefined
  /** Files that nobody names, or that lie behind the damage. */
  readonly dead: readonly NamedSegment[]
}

/** Follows the chain into the segments before it. Changes nothing. Throws `HOLT_IO`. */
export async function readHistory(io: Io, storeId: Uint8Array, log: FoundLog): Promise<History> {
  const unread = new Map(log.history.map((named) => [named.number, named]))
  const chain: ChainSegment[] = []
  let damaged: History['damaged']
  let successor = log.chain.at(0)?.header
  while (successor !== undefined) {
    const named = unread.get(successor.predecessorNumber)
    if (named === undefined) break
    unread.delete(named.number)
    try {
      const header = await readHeader(io, named.path, named.number, storeId)
      const limitBytes = successor.predecessorEndBytes
      checkLimit({ path: named.path, header }, limitBytes)
      chain.unshift({ path: named.path, header, limitBytes })
      successor = header
    } catch (error) {
      if (!isHoltError(error) || error.code === 'HOLT_IO') throw error
      damaged = { ...named, error }
      break
    }
  }
  return { chain, damaged, dead: [...unread.values()] }
}

/** Where reading begins: an index into the chain and an offset. */
export interface ReplayStart {
  readonly chainIndex: number
  readonly offsetBytes: number
}

/**
 * Finds a replay position in the chain; undefined when there is nothing behind it to read.
 *
 * @throws HoltError `HOLT_CORRUPT` if the log does not contain it.
 */
export function locate(log: FoundLog, from: Lsn | undefined, directory: string): ReplayStart | undefined {
  const { chain, highestNumber } = log
  const oldest = chain.at(0)
  if (from === undefined) {
    if (oldest === undefined) return undefined
    const { predecessorNumber } = oldest.header
    if (predecessorNumber !== 0) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${directory}: the journal was to be read from its beginning, but segment ${String(predecessorNumber)} and those before it are not there`,
      )
    }
    return { chainIndex: 0, offsetBytes: FIRST_RECORD_OFFSET }
  }
  const number = lsnSegment(from)
  const offsetBytes = lsnOffset(from)
  const chainIndex = chain.findIndex(({ header }) => header.number === number)
  const segment = chain.find(({ header }) => header.number === number)
  if (offsetBytes === 0) {
    if (segment !== undefined) return { chainIndex, offsetBytes: FIRST_RECORD_OFFSET }
    // No segment of that number yet, or the log began later than the store expected it to.
    if (number > highestNumber) return undefined
    if (oldest?.header.predecessorNumber === 0 && oldest.header.number > number) {
      return { chainIndex: 0, offsetBytes: FIRST_RECORD_OFFSET }
    }
  } else if (
    segment !== undefined &&
    offsetBytes >= FIRST_RECORD_OFFSET &&
    offsetBytes <= segment.limitBytes &&
    offsetBytes % RECORD_ALIGNMENT_BYTES === 0
  ) {
    return { chainIndex, offsetBytes }
  }
  const has =
    oldest === undefined
      ? 'there is no journal'
      : `the journal has segments ${String(oldest.header.number)} to ${String(highestNumber)}`
  throw new HoltError(
    'HOLT_CORRUPT',
    `${directory}: the store continues in journal segment ${String(number)} at offset ${String(offsetBytes)}, but ${has} and does not contain that place`,
  )
}

async function readHeader(io: Io, path: string, number: number, storeId: Uint8Array): Promise<SegmentHeader> {
  const file = await io.open(path, { access: 'read' })
  try {
    const { sizeBytes } = await io.stat(file)
    if (sizeBytes < FIRST_RECORD_OFFSET) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${path}: the file has ${String(sizeBytes)} bytes, less than a segment header (${String(FIRST_RECORD_OFFSET)})`,
      )
    }
    const bytes = new Uint8Array(FIRST_RECORD_OFFSET)
    await io.read(file, 0, bytes)
    const header = decodeSegmentHeader(bytes, path)
    if (header.number !== number) {
      throw new HoltError('HOLT_CORRUPT', `${path}: the header says segment ${String(header.number)}`)
    }
    if (!header.storeId.every((byte, i) => byte === storeId[i])) {
      throw new HoltError('HOLT_CORRUPT', `${path}: the segment belongs to another store`)
    }
    if (sizeBytes < header.segmentBytes) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${path}: the file ends at offset ${String(sizeBytes)}, its header says ${String(header.segmentBytes)} bytes`,
      )
    }
    return header
  } finally {
    await io.close(file)
  }
}

function checkLimit({ path, header }: FoundSegment, limitBytes: number): void {
  if (limitBytes >= FIRST_RECORD_OFFSET && limitBytes <= header.segmentBytes) return
  throw new HoltError(
    'HOLT_CORRUPT',
    `${path}: the segment after it says that it ends at offset ${String(limitBytes)}, which it does not have`,
  )
}
