import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { open } from '../src/index.js'

/** Programs of their own, on the built package: what keeps a process alive cannot be seen from inside this one. */
const built = pathToFileURL(createRequire(import.meta.url).resolve('../dist/index.js')).href

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-process-'))
})
afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
})

interface Ended {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: string
}

async function run(body: string): Promise<Ended> {
  const file = join(directory, 'program.mjs')
  const path = JSON.stringify(join(directory, 'db'))
  await writeFile(file, `import { open } from ${JSON.stringify(built)}\nconst path = ${path}\n${body}\n`)
  return await new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', reject)
    child.on('close', (exitCode, signal) => {
      resolve({ exitCode, signal, output })
    })
  })
}

describe.each(['os', 'disk'] as const)('a process with a database of durability %s', (durability) => {
  it('ends by itself when the database is idle, without close, and loses nothing', async () => {
    const ended = await run(`
      const db = await open(path, { durability: '${durability}' })
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      for (let i = 0; i < 1000; i++) await tree.put('k' + i, 'v' + i)
      await db.checkpoint()
      await tree.put('last', 'one')`)
    expect(ended).toEqual({ exitCode: 0, signal: null, output: '' })
    const db = await open(join(directory, 'db'))
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    expect([...tree.keys()]).toHaveLength(1_001)
    expect(tree.get('last')).toBe('one')
    await db.close()
  })

  it('stays until a close beside work in the background has ended', async () => {
    const ended = await run(`
      const db = await open(path, { durability: '${durability}' })
      const tree = await db.tree('t')
      const value = new Uint8Array(800)
      const writes = []
      for (let i = 0; i < 20_000; i++) writes.push(tree.put('d/' + (Math.imul(i, 0x2c1b3c6d) >>> 0), value))
      await Promise.all(writes)
      while (db.stats().compaction.orderedFrames === 0) await new Promise((resolve) => setTimeout(resolve, 1))
      await db.close()
      console.log('closed')`)
    expect(ended).toEqual({ exitCode: 0, signal: null, output: 'closed\n' })
  })

  it('stays until pending writes are acknowledged', async () => {
    const ended = await run(`
      const db = await open(path, { durability: '${durability}' })
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      let acknowledged = 0
      for (let i = 0; i < 100; i++) tree.put('k' + i, 'v' + i).then(() => acknowledged++)
      process.on('exit', () => console.log(acknowledged))`)
    expect(ended).toEqual({ exitCode: 0, signal: null, output: '100\n' })
  })

  it('G7: loses nothing acknowledged to SIGKILL, and leaves no lock that holds', async () => {
    const ended = await run(`
      const db = await open(path, { durability: '${durability}' })
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      for (let i = 0; i < 1000; i++) await tree.put('k' + i, 'v' + i)
      process.kill(process.pid, 'SIGKILL')
      setTimeout(() => undefined, 10_000)`)
    expect(ended).toEqual({ exitCode: null, signal: 'SIGKILL', output: '' })
    const db = await open(join(directory, 'db'))
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < 1_000; i++) expect(tree.get(`k${String(i)}`)).toBe(`v${String(i)}`)
    await db.close()
  })
})

describe('a loop of awaited writes', () => {
  it('does not starve timers', async () => {
    const ended = await run(`
      const db = await open(path)
      const tree = await db.tree('t')
      let ticks = 0
      const timer = setInterval(() => ticks++, 1)
      const value = new Uint8Array(10)
      for (let i = 0; ticks < 5 && i < 5_000_000; i++) await tree.put('k' + (i % 100), value)
      clearInterval(timer)
      // Two may have come in one turn.
      console.log(ticks >= 5)
      await db.close()`)
    expect(ended).toEqual({ exitCode: 0, signal: null, output: 'true\n' })
  })
})
