import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

// The demo starts a process of itself, so it is run as users run it: built.
const DEMO = fileURLToPath(new URL('../dist/index.js', import.meta.url))
const DIRECTORIES = 30
const FILES_PER_DIRECTORY = 25
const FILE_COUNT = DIRECTORIES * FILES_PER_DIRECTORY

let base = ''
let tree = ''
let temporary = ''

beforeAll(() => {
  if (!existsSync(DEMO)) throw new Error(`${DEMO} is not there; build it first (npm run build)`)
  base = mkdtempSync(join(tmpdir(), 'holt-demo-test-'))
  tree = join(base, 'tree')
  temporary = join(base, 'tmp')
  mkdirSync(temporary)
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    const path = join(tree, `d${String(directory % 5)}`, `e${String(directory)}`)
    mkdirSync(path, { recursive: true })
    for (let file = 0; file < FILES_PER_DIRECTORY; file++)
      writeFileSync(join(path, `f${String(file)}`), 'x'.repeat(file))
  }
})

afterAll(() => rmSync(base, { recursive: true, force: true }))

interface Run {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** What a failed run printed, for whoever reads the failure. */
function outputOf({ stdout, stderr }: Run): string {
  return `${stdout}\n${stderr}`
}

/** Runs the demo to its end, or until it has printed `interruptAt`, when it gets a SIGINT. */
function runDemo(args: readonly string[], interruptAt?: string): Promise<Run> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [DEMO, ...args], { env: { ...process.env, TMPDIR: temporary } })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
      if (interruptAt !== undefined && stdout.includes(interruptAt)) child.kill('SIGINT')
    })
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('close', (exitCode) => resolve({ exitCode, stdout, stderr }))
  })
}

describe('the demo', () => {
  test('indexes a tree, lists it, counts it, looks it up, and leaves nothing behind', async () => {
    const { exitCode, stdout, stderr } = await runDemo([tree])
    expect(stderr).toBe('')
    expect(stdout).toContain(`${String(FILE_COUNT)} files in 36 directories`)
    expect(stdout).toContain(`${String(FILE_COUNT)} entries, each as the walk saw it`)
    expect(stdout).toMatch(/count and sum {7}750 files, 8\.8 KiB below '.*tree\/'/)
    expect(stdout).toMatch(/tree\/d4\/\n/)
    expect(stdout).not.toContain('were not found')
    expect(exitCode).toBe(0)
    expect(readdirSync(temporary)).toEqual([])
  })

  test('gives no verdict on the rate of so few files, and one on listing', async () => {
    const { exitCode, stdout } = await runDemo([tree, '--check'])
    expect(stdout).toMatch(/– index .*not judged below 20,000 files/)
    expect(stdout).toMatch(/[✓✗] list a directory .*under 50\.0 µs/)
    expect(exitCode).toBe(stdout.includes('✓ list') ? 0 : 1)
  })

  test('says which I/O it used, and why not io_uring', async () => {
    const { stdout } = await runDemo([tree])
    expect(stdout).toMatch(/I\/O {17}(?:io_uring|node:fs \(not io_uring: .+\))\n/)
  })

  test('loses no acknowledged file when it is killed, and finishes the job', async () => {
    const { exitCode, stdout, stderr } = await runDemo([tree, '--crash'])
    expect(stderr).toBe('')
    const acknowledged = Number(/kill -9 {13}after ([\d,]+) acknowledged/.exec(stdout)?.[1])
    expect(acknowledged).toBeGreaterThanOrEqual(FILE_COUNT / 2)
    expect(stdout).toContain(`all ${String(acknowledged)} acknowledged files are there, byte for byte`)
    expect(stdout).toContain(`${String(FILE_COUNT)} entries, each as the walk saw it`)
    expect(exitCode).toBe(0)
    expect(readdirSync(temporary)).toEqual([])
  })

  test('keeps the database where it was asked to put it, and finds it there again', async () => {
    const database = join(base, 'kept.holt')
    const first = await runDemo([tree, '--db', database])
    expect(first.exitCode, outputOf(first)).toBe(0)
    expect(readdirSync(database)).not.toEqual([])
    const again = await runDemo([join(tree, 'd0'), '--db', database])
    expect(outputOf(again)).toContain(`${String(FILE_COUNT)} entries, each as the walk saw it`)
    expect(again.exitCode, outputOf(again)).toBe(0)
  })

  test('cleans up after Ctrl-C', async () => {
    const { exitCode, stderr } = await runDemo([tree], 'walk ')
    expect(stderr).toContain('interrupted')
    expect(exitCode).toBe(130)
    expect(readdirSync(temporary)).toEqual([])
  })

  test('refuses a directory that is not there and an option it does not know', async () => {
    const absent = await runDemo([join(base, 'absent')])
    expect([absent.exitCode, absent.stderr]).toEqual([1, expect.stringContaining('ENOENT')])
    const unknown = await runDemo([tree, '--frobnicate'])
    expect([unknown.exitCode, unknown.stderr]).toEqual([1, expect.stringContaining('--frobnicate')])
    expect(readdirSync(temporary)).toEqual([])
  })
})
