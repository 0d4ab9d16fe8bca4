import { existsSync, readFileSync } from 'node:fs'

import prettier from 'prettier'
import { describe, expect, test } from 'vitest'

import { FAULTS, FAULT_GROUPS, applyFault, asPattern, judge, missedTitles, withTables } from '../index.mjs'

const rootPath = (path) => new URL(`../../../${path}`, import.meta.url)
const read = (path) => readFileSync(rootPath(path), 'utf8')
const failedTest = (fullName, failureMessages = ['AssertionError: expected 1 to be 2']) => ({
  status: 'failed',
  fullName,
  failureMessages,
})
const passedTest = (fullName) => ({ status: 'passed', fullName })
const file = (...assertionResults) => ({ status: 'passed', assertionResults })

describe('the listed faults', () => {
  test('are told apart by their ids', () => {
    expect(new Set(FAULTS.map(({ id }) => id)).size).toBe(FAULTS.length)
  })

  test.each(FAULTS)('$id fits the code: its text occurs exactly once, and its test is there', (fault) => {
    const sound = read(fault.file)
    expect(applyFault(sound, fault)).not.toBe(sound)
    expect(existsSync(rootPath(fault.test))).toBe(true)
  })

  test('are those that docs/TESTING.md shows', { timeout: 30_000 }, async () => {
    const page = read('docs/TESTING.md')
    const options = await prettier.resolveConfig(new URL('../../../docs/TESTING.md', import.meta.url))
    const written = await prettier.format(withTables(page, FAULT_GROUPS), { ...options, parser: 'markdown' })
    expect(written, 'run: npm run mutants -- --write-docs').toBe(page)
  })
})

describe('a fault', () => {
  const fault = { id: 'x', file: 'a.ts', find: 'b()\n', replace: '$& twice' }

  test('replaces its text, whatever signs are in it', () => {
    expect(applyFault('a\nb()\nc', fault)).toBe('a\n$& twicec')
  })

  test('whose text is gone, or there twice, is refused', () => {
    expect(() => applyFault('a', fault)).toThrow('x: its text occurs 0 times in a.ts')
    expect(() => applyFault('b()\nb()\n', fault)).toThrow('occurs 2 times')
  })
})

describe('a run with a fault', () => {
  const failedRun = { exitCode: 1, timedOut: false }

  test('notices it by the first test that fails', () => {
    const files = [file(passedTest('a'), failedTest('b c'), failedTest('d'))]
    expect(judge(failedRun, files)).toEqual({ kind: 'noticed', by: 'b c' })
  })

  test('notices it by not ending, and by an error outside of all tests', () => {
    expect(judge({ exitCode: 137, timedOut: true }, undefined).kind).toBe('noticed')
    expect(judge(failedRun, [file(passedTest('a'))]).kind).toBe('noticed')
  })

  test('has not noticed it when all tests pass', () => {
    expect(judge({ exitCode: 0, timedOut: false }, [file(passedTest('a'))]).kind).toBe('survived')
  })

  test('proves nothing where the change is no program, the tests were not loaded, or there is no report', () => {
    const noProgram = [file(failedTest('a', ['ReferenceError: x is not defined\n    at …']))]
    expect(judge(failedRun, noProgram).kind).toBe('unfit')
    const notLoaded = [{ status: 'failed', message: 'Unexpected token', assertionResults: [] }]
    expect(judge(failedRun, notLoaded).kind).toBe('unfit')
    expect(judge(failedRun, undefined).kind).toBe('unfit')
  })
})

describe('an unbroken run', () => {
  test('misses titles that no passed test has', () => {
    const files = [file(passedTest('a b'), { status: 'skipped', fullName: 'c' })]
    expect(missedTitles(files, ['b', undefined])).toEqual([])
    expect(missedTitles(files, ['c'])).toEqual(["no test passes that is called 'c'"])
    expect(missedTitles([], [undefined])).toHaveLength(1)
  })

  test('names the tests that fail', () => {
    expect(missedTitles([file(passedTest('a'), failedTest('b'))], ['a'])).toEqual(['b fails'])
  })

  test('looks for titles as they stand, not as patterns', () => {
    const title = 'a (b) [c] $d /e/ f.g?'
    expect(new RegExp(asPattern(title)).test(title)).toBe(true)
    expect(new RegExp(asPattern('a.b')).test('axb')).toBe(false)
  })
})
