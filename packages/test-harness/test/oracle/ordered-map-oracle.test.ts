import { describe, expect, test } from 'vitest'

import { OrderedMapOracle } from '../../src/index.js'
import type { OracleRange } from '../../src/index.js'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))

function oracleOf(...keys: string[]): OrderedMapOracle {
  const oracle = new OrderedMapOracle()
  for (const [i, key] of keys.entries()) oracle.put(bytes(key), bytes(`${key}!`), i + 1)
  return oracle
}

function shown(oracle: OrderedMapOracle, range: OracleRange = {}): string[] {
  return oracle.scan(range).map((entry) => {
    const isPrefix = entry.kind === 'prefix'
    const text = Buffer.from(isPrefix ? entry.prefix : entry.key).toString('latin1')
    return isPrefix ? `${text}*` : text
  })
}

describe('a scan', () => {
  test('gives keys in byte order, prefixes and the empty key first', () => {
    expect(shown(oracleOf('b', '\xff', 'a\0', '', 'a', 'a\x01'))).toEqual([
      '',
      'a',
      'a\0',
      'a\x01',
      'b',
      '\xff',
    ])
  })

  test('obeys every bound, prefix, direction and limit', () => {
    const oracle = oracleOf('a', 'b', 'ba', 'bb', 'c')
    expect(shown(oracle, { gt: bytes('b') })).toEqual(['ba', 'bb', 'c'])
    expect(shown(oracle, { gte: bytes('b'), lt: bytes('bb') })).toEqual(['b', 'ba'])
    expect(shown(oracle, { lte: bytes('ba'), reverse: true })).toEqual(['ba', 'b', 'a'])
    expect(shown(oracle, { prefix: bytes('b'), limit: 2 })).toEqual(['b', 'ba'])
    expect(shown(oracle, { limit: 0 })).toEqual([])
  })

  test('rolls keys up at the first delimiter behind the prefix', () => {
    const oracle = oracleOf('a/1', 'a/2/x', 'a/2/y', 'a/3', 'b')
    expect(shown(oracle, { delimiter: bytes('/') })).toEqual(['a/*', 'b'])
    expect(shown(oracle, { delimiter: bytes('/'), prefix: bytes('a/') })).toEqual(['a/1', 'a/2/*', 'a/3'])
    expect(shown(oracle, { delimiter: bytes('/'), prefix: bytes('a/'), reverse: true })).toEqual([
      'a/3',
      'a/2/*',
      'a/1',
    ])
    expect(shown(oracle, { delimiter: bytes('/'), limit: 1 })).toEqual(['a/*'])
  })
})

describe('a write', () => {
  test('of a rename moves the value, unless a condition fails', () => {
    const oracle = oracleOf('a', 'b')
    const rename = (from: string, to: string, force = false): string =>
      oracle.apply({ kind: 'rename', from: bytes(from), to: bytes(to), force }, 9)
    expect(rename('x', 'y')).toBe('not-found')
    expect(rename('a', 'b')).toBe('exists')
    expect(rename('a', 'a')).toBe('unchanged')
    expect(rename('a', 'b', true)).toBe('changed')
    expect(shown(oracle)).toEqual(['b'])
    expect(oracle.get(bytes('b'))).toEqual({ value: bytes('a!'), version: 9 })
  })

  test('tells whether a key was new, and whether it was there', () => {
    const oracle = oracleOf('a')
    expect(oracle.put(bytes('a'), bytes('2'), 2)).toBe(false)
    expect(oracle.put(bytes('b'), bytes('2'), 3)).toBe(true)
    expect(oracle.delete(bytes('b'))).toBe(true)
    expect(oracle.delete(bytes('b'))).toBe(false)
    expect(oracle.size).toBe(1)
  })

  test('keeps a copy of the value', () => {
    const oracle = new OrderedMapOracle()
    const value = bytes('one')
    oracle.put(bytes('k'), value, 1)
    value.fill(0)
    expect(oracle.get(bytes('k'))?.value).toEqual(bytes('one'))
  })
})

test('a clone and its origin change independently', () => {
  const oracle = oracleOf('a', 'b')
  const clone = oracle.clone()
  oracle.delete(bytes('a'))
  clone.put(bytes('c'), bytes(''), 3)
  const second = clone.clone()
  clone.delete(bytes('b'))
  expect(shown(oracle)).toEqual(['b'])
  expect(shown(clone)).toEqual(['a', 'c'])
  expect(shown(second)).toEqual(['a', 'b', 'c'])
})

describe('operations on a prefix', () => {
  test('delete and move everything below it, with values and versions', () => {
    const oracle = oracleOf('a', 'ab', 'ac\0', 'b', 'c1', 'c2')
    expect(oracle.apply({ kind: 'deletePrefix', prefix: bytes('x') }, 9)).toBe('unchanged')
    expect(oracle.apply({ kind: 'deletePrefix', prefix: bytes('ab') }, 9)).toBe('changed')
    const move = (from: string, to: string, force: boolean): string =>
      oracle.apply({ kind: 'renamePrefix', from: bytes(from), to: bytes(to), force }, 9)
    expect(move('x', 'y', true)).toBe('not-found')
    expect(move('a', 'c', false)).toBe('exists')
    expect(move('a', 'dd', false)).toBe('changed')
    expect(shown(oracle)).toEqual(['b', 'c1', 'c2', 'dd', 'ddc\0'])
    expect(oracle.get(bytes('ddc\0'))?.version).toBe(3)
    expect(move('dd', 'c', true)).toBe('changed')
    expect(shown(oracle)).toEqual(['b', 'c', 'cc\0'])
    expect(oracle.get(bytes('c'))?.value).toEqual(bytes('a!'))
  })
})
