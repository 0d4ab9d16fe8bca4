import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, test } from 'vitest'

import { conformance } from '../src/conformance.js'
import { FsIo } from '../src/fs-io.js'

describe('FsIo conforms to the contract of Io', () => {
  conformance({
    test,
    supports: { queueCounters: true },
    factory: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'holt-fs-io-'))
      return { io: FsIo.create(), directory, cleanup: () => rm(directory, { recursive: true }) }
    },
  })
})
