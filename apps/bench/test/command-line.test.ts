import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { InvalidArgumentError } from 'commander'
import { afterEach, describe, expect, test } from 'vitest'

import { keyCounts, share, someOf, workloads } from '../src/commands/arguments.js'
import { neighboursOf } from '../src/cold/neighbours.js'

/** Processes are measured, so this is what was built. */
const PROGRAM = fileURLToPath(new URL('../dist/index.js', import.meta.url))
const directories: string[] = []

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

interface Ended {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the program; `onProgress` sees what it has said so far on stderr. */
function bench(
  args: readonly string[],
  onProgress?: (stderr: string, kill: () => void) => void,
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--expose-gc', PROGRAM, ...args])
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
      onProgress?.(stderr, () => child.kill('SIGINT'))
    })
    child.once('close', (exitCode) => {
      resolve({ exitCode, stdout, stderr })
    })
  })
}

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'holt-bench-cli-'))
  directories.push(directory)
  return directory
}

const SMALL = [
  'rivals',
  '--no-install',
  '--keys',
  '1k',
  '--engines',
  'holt,JS Map',
  '--quick',
  '--rounds',
  '1',
  '--turn-ms',
  '2',
]

describe('rivals', () => {
  test('prints a table with every operation that was asked for, writes a chart, removes the stores', async () => {
    const directory = newDirectory()
    const out = newDirectory()
    const { exitCode, stdout, stderr } = await bench([
      ...SMALL,
      ...['--only', 'get,rename', '--directory', directory, '--out', out],
    ])
    expect(stderr).not.toContain('rror')
    expect(exitCode).toBe(0)
    const cells = stdout
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .slice(2)
      .map((line) => line.split(' | '))
    expect(cells.map(([name]) => name)).toEqual([
      '| load, random order, per key, ns',
      '| get, ns',
      '| rename, ns',
    ])
    for (const [, holt, map] of cells) expect([holt, map].every((text) => /^[\d.,]+$/.test(text))).toBe(true)
    expect(readFileSync(join(out, 'objstore-1000.svg'), 'utf8')).toContain('</svg>')
    expect(readdirSync(directory)).toEqual([])
  }, 60_000)

  test('interrupted, ends its processes and removes the stores', async () => {
    const directory = newDirectory()
    const { exitCode } = await bench(
      [...SMALL, '--turn-ms', '60000', '--directory', directory],
      (stderr, kill) => {
        if (stderr.includes(': get\n')) kill()
      },
    )
    expect(exitCode).toBe(130)
    expect(readdirSync(directory)).toEqual([])
  }, 60_000)

  test('refuses an engine and an operation that do not exist', async () => {
    const { exitCode, stderr } = await bench(['rivals', '--engines', 'holt,oracle'])
    expect(exitCode).toBe(1)
    expect(stderr).toContain('lmdb')
  }, 60_000)
})

describe('arguments', () => {
  test('numbers of keys take k and m', () => {
    expect(keyCounts('20k,500K, 2m,17')).toEqual([20_000, 500_000, 2_000_000, 17])
    for (const text of ['', 'x', '0', '2g', '-1', '1.5k'])
      expect(() => keyCounts(text), text).toThrow(InvalidArgumentError)
  })

  test('names have to be known', () => {
    expect(workloads('all')).toEqual(['objstore', 'fs', 'kv', 'paths'])
    expect(workloads('fs,kv')).toEqual(['fs', 'kv'])
    expect(() => workloads('s3')).toThrow('objstore')
    expect(someOf(['a', 'b'])('b, a')).toEqual(['b', 'a'])
    expect(() => someOf(['a', 'b'])('c')).toThrow('a, b')
  })

  test('a tolerance is a share of 1', () => {
    expect(share('0.3')).toBe(0.3)
    for (const text of ['0', '1', '30', 'x']) expect(() => share(text), text).toThrow(InvalidArgumentError)
  })
})

describe('flat', () => {
  test('prints a table for each number of keys, and removes the stores', async () => {
    const directory = newDirectory()
    const { exitCode, stdout } = await bench([
      ...['flat', '--keys', '1k,2k', '--repetitions', '4', '--directory', directory],
    ])
    expect(exitCode).toBe(0)
    for (const text of [
      '1,000 keys below',
      '2,000 keys below',
      '| count |',
      '| renamePrefix |',
      '| deletePrefix |',
    ])
      expect(stdout).toContain(text)
    expect(readdirSync(directory)).toEqual([])
  })
})

describe('shared', () => {
  test('prints what two threads do against one, with the bar of each row, and removes the stores', async () => {
    const directory = newDirectory()
    const { exitCode, stdout, stderr } = await bench([
      ...['shared', '--keys', '2k', '--seconds', '0.03', '--rounds', '2', '--directory', directory],
    ])
    expect(stderr).not.toContain('rror')
    expect(exitCode).toBe(0)
    expect(stdout).toContain('2,000 keys')
    const rows = stdout.split('\n').filter((line) => line.startsWith('| ') && line.includes('1.8'))
    expect(rows).toHaveLength(6)
    for (const row of rows) {
      const [one, two, ratio] = row
        .split(' | ')
        .slice(1, 4)
        .map((text) => Number(text.replaceAll(',', '')))
      expect(one).toBeGreaterThan(0)
      expect(two).toBeGreaterThan(0)
      expect(ratio).toBeGreaterThan(0)
    }
    expect(stdout).toMatch(/readers [1-9][\d,]* keys were written/)
    expect(readdirSync(directory)).toEqual([])
  }, 60_000)
})

describe('bulk', () => {
  test('fills stores in four ways, compares what is in them, prints a table, and removes them', async () => {
    const directory = newDirectory()
    const { exitCode, stdout, stderr } = await bench([
      ...['bulk', '--keys', '2k', '--rounds', '2', '--directory', directory],
    ])
    expect(stderr).toContain('bulk 2000: checking')
    expect(exitCode).toBe(0)
    for (const row of ['puts, random order', 'puts, sorted', 'bulkLoad, random order', 'bulkLoad, sorted'])
      expect(stdout).toMatch(new RegExp(`^\\| ${row} \\| [\\d.,]+ \\| [\\d.,]+ \\|`, 'm'))
    expect(readdirSync(directory)).toEqual([])
  }, 60_000)
})

describe('cold', () => {
  test('prints what lookups read from a store of each workload, before and after a compaction, and removes the stores', async () => {
    const directory = newDirectory()
    const { exitCode, stdout, stderr } = await bench([
      ...['cold', '--keys', '20k', '--workload', 'objstore,kv', '--lookups', '200', '--openings', '3'],
      ...['--directory', directory],
    ])
    expect(stderr).not.toContain('rror')
    expect(exitCode).toBe(0)
    for (const text of ['objstore, 20,000 keys, as puts', 'kv, 20,000 keys, compacted'])
      expect(stdout).toContain(text)
    const rows = stdout.split('\n').filter((line) => /^\| (?:first of all|in a row):/.test(line))
    expect(rows).toHaveLength(24)
    expect(readdirSync(directory)).toEqual([])
  }, 60_000)

  test('asks for neighbours of keys that are not keys themselves', () => {
    const keys = Array.from({ length: 300 }, (_, index) => `a/${String(index)}`)
    const neighbours = neighboursOf(keys, 200, 1)
    expect(new Set(neighbours).size).toBe(200)
    for (const neighbour of neighbours) {
      expect(keys).not.toContain(neighbour)
      const isNear = (key: string): boolean =>
        key.length === neighbour.length &&
        Array.from(key).filter((char, at) => char !== neighbour[at]).length === 1
      expect(keys.some(isNear), neighbour).toBe(true)
    }
    expect(neighboursOf(keys, 200, 1)).toEqual(neighbours)
  })
})
