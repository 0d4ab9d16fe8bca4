import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, test } from 'vitest'

import { conformance } from '../src/conformance.js'
import { UringIo } from '../src/uring-io.js'

import { alignedBytes, unavailable } from './uring-support.js'

describe.skipIf(unavailable)('UringIo conforms to the contract of Io', () => {
  for (const queueDepth of [256, 2]) {
    describe(`with ${String(queueDepth)} operations outstanding at most`, () => {
      conformance({
        test,
        supports: { map: true, lock: true, queueCounters: true },
        alignedBytes,
        factory: async () => {
          const directory = await mkdtemp(join(tmpdir(), 'holt-uring-io-'))
          return {
            io: UringIo.create({ queueDepth }),
            directory,
            cleanup: () => rm(directory, { recursive: true }),
          }
        },
      })
    })
  }
})
