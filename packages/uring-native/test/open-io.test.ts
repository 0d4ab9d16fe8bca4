import { HoltError } from '@holt/errors'
import { describe, expect, test } from 'vitest'

import { FsIo } from '../src/fs-io.js'
import type { Io } from '../src/io.js'
import { chooseIo, openIo } from '../src/open-io.js'
import type { OpenIoOptions } from '../src/open-io.js'
import { UringIo } from '../src/uring-io.js'

/** Stands for an io_uring that works. */
const ring: Io = Object.assign(FsIo.create(), { stands: 'for io_uring' })
const working = (): Io => ring
const refused = (): Io => {
  throw new HoltError('HOLT_UNSUPPORTED', 'io_uring_setup failed with EPERM\nand more')
}

const untyped = (value: unknown): never => value as never

test('auto takes io_uring where it works', () => {
  expect(chooseIo({}, {}, working)).toBe(ring)
  expect(chooseIo({ prefer: 'auto' }, { HOLT_IO: '' }, working)).toBe(ring)
})

test.each<OpenIoOptions>([{}, { prefer: undefined }, { prefer: 'auto' }, { prefer: 'uring' }])(
  '%j falls back to node:fs where io_uring is refused, and says why in one line',
  (options) => {
    const io = chooseIo(options, {}, refused)
    expect(io.kind).toBe('fs')
    expect(io.fallbackReason).toBe('io_uring_setup failed with EPERM')
  },
)

test('an error without a message still gives a reason', () => {
  const io = chooseIo({}, {}, () => {
    throw new Error('')
  })
  expect(io.fallbackReason).toMatch(/io_uring/)
})

test('fs does not ask for io_uring, and so has no reason to give', () => {
  for (const io of [chooseIo({ prefer: 'fs' }, {}, working), chooseIo({}, { HOLT_IO: 'fs' }, working)]) {
    expect(io.kind).toBe('fs')
    expect(io.fallbackReason).toBeUndefined()
  }
})

describe('HOLT_IO', () => {
  test('decides where the preference is auto', () => {
    expect(chooseIo({}, { HOLT_IO: 'uring' }, working)).toBe(ring)
    expect(chooseIo({ prefer: 'auto' }, { HOLT_IO: 'auto' }, working)).toBe(ring)
    expect(chooseIo({}, { HOLT_IO: 'uring' }, refused).fallbackReason).toMatch(/EPERM/)
  })

  test('gives way to a preference', () => {
    expect(chooseIo({ prefer: 'uring' }, { HOLT_IO: 'fs' }, working)).toBe(ring)
    expect(chooseIo({ prefer: 'fs' }, { HOLT_IO: 'uring' }, working).kind).toBe('fs')
  })

  test.each(['FS', 'io_uring', ' fs', '1'])('is refused as %j', (value) => {
    expect(() => chooseIo({}, { HOLT_IO: value }, working)).toThrow(
      expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }),
    )
  })
})

test.each([{ prefer: 'URING' }, { prefer: 1 }, { prefer: null }, { preferred: 'fs' }, null, 'fs'])(
  'openIo refuses %j',
  (options) => {
    expect(() => openIo(untyped(options))).toThrow(expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }))
  },
)

test('openIo gives io_uring exactly where it can be made, and else a reason', async () => {
  let possible = true
  try {
    await UringIo.create().dispose()
  } catch {
    possible = false
  }
  const io = openIo({ prefer: 'uring' })
  expect(io.kind).toBe(possible ? 'uring' : 'fs')
  expect(typeof io.fallbackReason).toBe(possible ? 'undefined' : 'string')
  await io.dispose()
})
