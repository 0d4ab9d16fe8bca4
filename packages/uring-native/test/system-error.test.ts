import fs from 'node:fs'

import { HoltError } from '@holt/errors'
import { expect, test } from 'vitest'

import { errnoOf, fromNodeError, systemError } from '../src/system-error.js'

test.each([
  ['ENOSPC', 'HOLT_NO_SPACE'],
  ['EDQUOT', 'HOLT_NO_SPACE'],
  ['EFBIG', 'HOLT_NO_SPACE'],
  ['EEXIST', 'HOLT_EXISTS'],
  ['ENOENT', 'HOLT_NOT_FOUND'],
  ['EIO', 'HOLT_IO'],
  ['constructor', 'HOLT_IO'],
])('%s is %s and keeps errno, system call, path and cause', (errno, code) => {
  const cause = new Error('beneath')
  const error = systemError(errno, 'pwrite', '/some/file', cause)
  expect(error).toMatchObject({ code, errno, syscall: 'pwrite', path: '/some/file', cause })
  for (const part of [errno, 'pwrite', '/some/file']) expect(error.message).toContain(part)
})

test.each(['fsync', 'fdatasync'])(
  'no space at %s is HOLT_IO: writes that had succeeded are lost',
  (syscall) => {
    expect(systemError('ENOSPC', syscall, '/some/file')).toMatchObject({ code: 'HOLT_IO', errno: 'ENOSPC' })
  },
)

test('what node:fs throws for a refused call becomes the system error', () => {
  let thrown: unknown
  try {
    fs.openSync('/absent/file', 'r')
  } catch (error) {
    thrown = error
  }
  expect(errnoOf(thrown)).toBe('ENOENT')
  expect(fromNodeError(thrown, 'open', '/absent/file')).toMatchObject({
    code: 'HOLT_NOT_FOUND',
    cause: thrown,
  })
})

test('what carries no errno is HOLT_IO with it as cause, and a HoltError stays itself', () => {
  const plain = new TypeError('not from the system')
  expect(errnoOf(plain)).toBeUndefined()
  expect(errnoOf('text')).toBeUndefined()
  expect(errnoOf(Object.assign(new Error('node'), { code: 'ERR_OUT_OF_RANGE' }))).toBeUndefined()
  expect(fromNodeError(plain, 'pread', '/f')).toMatchObject({ code: 'HOLT_IO', cause: plain })
  const ours = new HoltError('HOLT_SHORT_TRANSFER', 'short')
  expect(fromNodeError(ours, 'pread', '/f')).toBe(ours)
})
