import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { isHoltError } from '@holt/errors'
import { addressOfBytes, UringIo } from '@holt/uring-native'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

// Each in a process of its own, against what is built: a use of freed memory may well take the process down.

const fixture = fileURLToPath(new URL('fixtures/closing-orders.mjs', import.meta.url))
const CHILD_TIMEOUT_MS = 60_000
const ALL_RIGHT = { wrong: [], collected: true, poisoned: true }

let directory = ''
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'holt-pool-'))
})
afterAll(() => {
  rmSync(directory, { recursive: true, force: true })
})

function hasUring(): boolean {
  try {
    void UringIo.create().dispose()
    return true
  } catch (error) {
    if (isHoltError(error, 'HOLT_UNSUPPORTED')) return false
    throw error
  }
}

interface Ended {
  readonly code: number | string | null
  readonly found: unknown
  readonly said: string
}

function run(scenario: string, kind: string): Promise<Ended> {
  const args = ['--expose-gc', fixture, scenario, kind, directory]
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: CHILD_TIMEOUT_MS }, (error, stdout, stderr) => {
      const code = error === null ? 0 : (error.signal ?? error.code ?? null)
      const found: unknown = stdout === '' ? undefined : JSON.parse(stdout)
      resolve({ code, found, said: stderr })
    })
  })
}

describe.each(hasUring() ? ['uring', 'fs'] : ['fs'])(
  'a slab whose frames a device reads and writes (%s)',
  (kind) => {
    const ends = async (scenario: string, found: unknown, code = 0): Promise<void> => {
      expect(await run(scenario, kind)).toEqual({ code, found, said: '' })
    }

    test(
      'C9: is forgotten while its frames are being written: all bytes arrive, then the memory goes',
      () => ends('slabDroppedBeforeWrites', ALL_RIGHT),
      CHILD_TIMEOUT_MS,
    )

    test(
      'C9: is forgotten while its frames are being read into: no other memory is touched, then it goes',
      () => ends('slabDroppedBeforeReads', { outcome: 'read', collected: true, poisoned: true }),
      CHILD_TIMEOUT_MS,
    )

    test(
      'C9: outlives a ring that is closed with transfers under way, and is nobody else’s afterwards',
      () => ends('ringFirst', { states: ['fulfilled'], intact: true, free: 24 }),
      CHILD_TIMEOUT_MS,
    )

    test(
      'C9: goes before the ring, which goes on',
      () => ends('slabFirst', { collected: true, wrong: [] }),
      CHILD_TIMEOUT_MS,
    )

    test(
      'C9: is forgotten together with a ring that nobody closed, transfers under way',
      () => ends('bothForgotten', { ...ALL_RIGHT, outcomes: ['read'] }),
      CHILD_TIMEOUT_MS,
    )

    test(
      'C9: is nobody else’s after a thread was terminated that had frames filled',
      () => ends('workerTerminated', { intact: true, wrong: [], free: 24 }),
      CHILD_TIMEOUT_MS,
    )

    test(
      'C9: frames being filled do not keep a process from ending',
      () => ends('processExits', undefined, 7),
      CHILD_TIMEOUT_MS,
    )
  },
)

describe.skipIf(addressOfBytes === undefined)('addresses of a slab', () => {
  test(
    'C1: frames are aligned to 4 KiB, ordinary ones too (C6), stay where they are, and are the same on every thread',
    async () => {
      expect(await run('addresses', 'fs')).toEqual({
        code: 0,
        said: '',
        found: {
          aligned: true,
          ordinarySlot: 0,
          stable: true,
          distinct: 200,
          sameElsewhere: true,
          registered: true,
        },
      })
    },
    CHILD_TIMEOUT_MS,
  )
})
