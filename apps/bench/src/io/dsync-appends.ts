import fs from 'node:fs'
import { join } from 'node:path'

import { UringIo } from '@holt/uring-native'

import { atMost } from './result.js'
import type { GroupResult, ResultRow } from './result.js'
import { medianOf } from './rounds.js'
import type { Pace } from './rounds.js'
import { MODES, alignedBuffers, openByNode } from './test-file.js'
import type { CacheMode } from './test-file.js'

const APPEND_BYTES = 4096
const SEGMENT_BYTES = 64 << 20
/** Few enough that a disturbance of the machine meets everybody. */
const APPENDS_PER_TURN = 64

interface Appender {
  readonly name: string
  readonly append: (offsetBytes: number) => Promise<void> | void
}

/**
 * Appends of 4 KiB into a zeroed segment, each stable before the next begins: by the log thread, awaited one by one,
 * and by calls that block. Microseconds, the median of single appends.
 */
export async function dsyncAppends(directory: string, pace: Pace): Promise<GroupResult> {
  const rows: ResultRow[] = []
  const notes: string[] = []
  for (const mode of MODES) {
    const row = await inMode(join(directory, `segment-${mode}`), mode, pace)
    if (row !== undefined) rows.push(row)
    else notes.push('No direct appends: this file system refuses O_DIRECT.')
  }
  return {
    group: 'appends',
    title: 'Stable append of 4 KiB into a zeroed segment: microseconds, p50',
    heads: ['`Io.writeDsync`', '`Io.writeDsyncSync`', '`fs.writeSync`, O_DSYNC'],
    rows,
    notes: [...notes, 'The bar compares the log thread with the faster of the two calls that block.'],
  }
}

async function inMode(path: string, mode: CacheMode, pace: Pace): Promise<ResultRow | undefined> {
  const io = UringIo.create()
  let fd: number | undefined
  try {
    const made = await io.open(path, { access: 'readwrite', create: true })
    const zeros = new Uint8Array(1 << 20)
    for (let at = 0; at < SEGMENT_BYTES; at += zeros.length) await io.write(made, at, zeros)
    await io.sync(made)
    await io.close(made)

    const handle = await openByNode(path, mode, 'read')
    if (handle === undefined) return undefined
    await handle.close()

    const { O_RDWR, O_DSYNC, O_DIRECT } = fs.constants
    const descriptor = fs.openSync(path, O_RDWR | O_DSYNC | (mode === 'direct' ? O_DIRECT : 0))
    fd = descriptor
    const file = await io.open(path, { access: 'readwrite', direct: mode === 'direct' })
    const bytes = alignedBuffers(1, APPEND_BYTES).buffers[0]
    const appenders: readonly Appender[] = [
      { name: 'log thread', append: (offset) => io.writeDsync(file, offset, bytes) },
      {
        name: 'blocking',
        append: (offset) => {
          io.writeDsyncSync(file, offset, bytes)
        },
      },
      {
        name: 'node:fs',
        append: (offset) => {
          fs.writeSync(descriptor, bytes, 0, APPEND_BYTES, offset)
        },
      },
    ]
    const times = await timeAppends(appenders, pace)
    const [thread, blocking, node] = times.map((turns) => medianOf(turns.map(medianOf)))
    const ratios = times[0].map(
      (turn, round) => medianOf(turn) / Math.min(medianOf(times[1][round]), medianOf(times[2][round])),
    )
    return {
      name: mode,
      values: [thread, blocking, node],
      bars: [atMost('× blocking', medianOf(ratios), 1.2)],
    }
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
    await io.dispose()
    fs.rmSync(path, { force: true })
  }
}

/** The microseconds of every append: by appender, by turn. */
async function timeAppends(
  appenders: readonly Appender[],
  { rounds, roundMs }: Pace,
): Promise<readonly (readonly (readonly number[])[])[]> {
  const times = appenders.map((): number[][] => [])
  let position = 0
  // An append takes some hundred microseconds: so many turns of all come to the time the other groups take.
  const turns = Math.max(rounds, Math.ceil((rounds * roundMs) / 20))
  for (let turn = -1; turn < turns; turn++) {
    for (const [index, { append }] of appenders.entries()) {
      const taken: number[] = []
      for (let count = 0; count < APPENDS_PER_TURN; count++) {
        const offset = position
        position = (position + APPEND_BYTES) % SEGMENT_BYTES
        const startedMs = performance.now()
        const pending = append(offset)
        if (pending !== undefined) await pending
        taken.push((performance.now() - startedMs) * 1000)
      }
      if (turn >= 0) times[index].push(taken)
    }
  }
  return times
}
