import { describe, expect, test } from 'vitest'

import { ERROR_CODES, HoltError, isHoltError } from '../src/index.js'

describe('HoltError', () => {
  test('is an Error with its code, cause and what the system said', () => {
    const cause = new Error('beneath')
    const error = new HoltError('HOLT_IO', 'the write failed', {
      cause,
      errno: 'EIO',
      syscall: 'pwrite',
      path: 'blobs.dat',
    })
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: 'HoltError',
      code: 'HOLT_IO',
      errno: 'EIO',
      syscall: 'pwrite',
      path: 'blobs.dat',
    })
    expect(error.cause).toBe(cause)
    expect(String(error)).toBe('HoltError: the write failed')
  })

  test('has no cause when there was none', () => {
    expect('cause' in new HoltError('HOLT_CLOSED', 'closed')).toBe(false)
  })
})

describe('isHoltError', () => {
  test('tells a HoltError from others, and one code from another', () => {
    const error = new HoltError('HOLT_CLOSED', 'closed')
    expect(isHoltError(error)).toBe(true)
    expect(isHoltError(error, 'HOLT_CLOSED')).toBe(true)
    expect(isHoltError(error, 'HOLT_LOCKED')).toBe(false)
    expect(isHoltError(Object.assign(new Error('x'), { code: 'HOLT_CLOSED' }), 'HOLT_CLOSED')).toBe(false)
    expect(isHoltError(undefined)).toBe(false)
  })
})

test('every code is spelled HOLT_… and says what it means', () => {
  for (const [code, meaning] of Object.entries(ERROR_CODES)) {
    expect(code).toMatch(/^HOLT_[A-Z_]+$/)
    expect(meaning.length, code).toBeGreaterThan(10)
  }
})
