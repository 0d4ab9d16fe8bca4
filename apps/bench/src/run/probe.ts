import fs from 'node:fs'
import { join } from 'node:path'

import type { ProbeRequest, Timing } from './protocol.js'
import { timed } from './timing.js'

const BLOCK = Buffer.alloc(4_096, 0x5a)
const BLOCKS = 4_096

/**
 * The bare device: blocks of 4 KiB one after the other over bytes that are allocated and written already, each acknowledged
 * when it is stable (O_DSYNC).
 */
export async function probeDevice({ directory, lengthMs }: ProbeRequest): Promise<Timing> {
  const path = join(directory, 'probe')
  if (!fs.existsSync(path)) fs.writeFileSync(path, Buffer.alloc(BLOCK.length * BLOCKS))
  const before = fs.openSync(path, 'r+')
  fs.fsyncSync(before)
  fs.closeSync(before)
  const file = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_DSYNC)
  try {
    return await timed(async () => {
      const startedMs = performance.now()
      let writes = 0
      do {
        fs.writeSync(file, BLOCK, 0, BLOCK.length, (writes % BLOCKS) * BLOCK.length)
        writes++
      } while (performance.now() - startedMs < lengthMs)
      return writes
    })
  } finally {
    fs.closeSync(file)
  }
}
