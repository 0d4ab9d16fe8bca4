import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isHoltError } from '@holt/errors'
import { type Db, open, type OpenOptions } from 'holt'
import { afterEach, beforeEach, expect, test } from 'vitest'

/** The writer is a program of its own, on the built package. */
const built = new URL('../../../holt/dist/index.js', import.meta.url).href
const KEYS = 400
/** The value of key `k` at step `s` is the last step up to s that is k more than a multiple of the number of keys. */
const valueAt = (step: number, key: number): number => step - ((((step - key) % KEYS) + KEYS) % KEYS)

// Between two collections there can be hundreds of readers, too much memory for a process that is to start another.
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

let directory: string
let child: ChildProcess | undefined
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-read-only-'))
})
afterEach(async () => {
  child?.kill('SIGKILL')
  await rm(directory, { recursive: true, force: true })
})

const OPTIONS = { usableFrameBytes: 32_768, segmentBytes: 65_536, cacheBytes: 16 * 2 ** 19 }

/** A process that writes, checkpoints, empties the journal and vacuums in a loop, and tells which steps are acknowledged. */
async function startWriter(io: string, durability: string): Promise<{ acknowledged: number }> {
  const program = join(directory, 'writer.mjs')
  await writeFile(
    program,
    `import { open } from ${JSON.stringify(built)}
    const db = await open(${JSON.stringify(join(directory, 'db'))}, {
      ...${JSON.stringify(OPTIONS)}, io: '${io}', durability: '${durability}',
    })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const filler = await db.tree('filler')
    let load = 0
    for (let step = 0; ; step++) {
      await db.atomic((tx) => {
        tx.in(tree).put('step', String(step))
        tx.in(tree).put('again', String(step))
        tx.in(tree).put('dir-' + (step % ${String(KEYS)}) % 13 + '/' + (step % ${String(KEYS)}), step + ' '.repeat(200))
        for (let i = 0; i < 8; i++) tx.in(filler).put('f' + (step * 8 + i) % 3000, new Uint8Array(100))
      })
      process.send(step)
      if (step % 3 === 0) await db.checkpoint()
      if (step % 40 === 0) await db.vacuum()
      if (step > ${String(KEYS)}) await new Promise((resume) => setTimeout(resume, step % 4))
    }`,
  )
  const state = { acknowledged: -1 }
  const writer = spawn(process.execPath, [program], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child = writer
  await new Promise<void>((resolve, reject) => {
    writer.on('message', (step) => {
      state.acknowledged = step as number
      if (state.acknowledged === KEYS) resolve()
    })
    writer.on('error', reject)
    writer.on('exit', () => {
      reject(new Error('the writer ended'))
    })
  })
  return state
}

async function openForReading(options: OpenOptions): Promise<Db | string> {
  try {
    return await open(join(directory, 'db'), { ...OPTIONS, ...options, readOnly: true })
  } catch (error) {
    if (isHoltError(error, 'HOLT_BUSY')) return error.code
    throw error
  }
}

test.each([
  ['fs', 'os'],
  ['fs', 'disk'],
  ['auto', 'os'],
  ['auto', 'disk'],
] as const)(
  "read-only readers while a writer checkpoints, recycles and reuses slots, in two processes: io '%s', durability '%s'",
  async (io, durability) => {
    const writer = await startWriter(io, durability)
    const counts = { shown: 0, busyAtOpening: 0, busyLater: 0 }
    const endMs = Date.now() + 2_500
    while (Date.now() < endMs || counts.shown < 5) {
      if (Date.now() > endMs + 20_000) expect.unreachable(`hardly ever opened: ${JSON.stringify(counts)}`)
      if ((counts.shown + counts.busyAtOpening) % 8 === 0) collectGarbage()
      const { acknowledged } = writer
      const db = await openForReading({ io, durability })
      if (typeof db === 'string') {
        counts.busyAtOpening++
        continue
      }
      try {
        const tree = await db.tree('t', { valueEncoding: 'utf8' })
        const step = Number(tree.get('step'))
        expect(step).toBeGreaterThanOrEqual(acknowledged)
        expect(tree.get('again')).toBe(String(step))
        // Some while the writer goes on, the others in one breath.
        for (let key = 0; key < KEYS; key++) {
          const at = `dir-${String(key % 13)}/${String(key)}`
          const found = key % 2 === 0 ? await tree.getAsync(at) : tree.get(at)
          expect([key, Number(found)]).toEqual([key, valueAt(step, key)])
        }
        expect(tree.count().keys).toBe(KEYS + 2)
        counts.shown++
      } catch (error) {
        if (!isHoltError(error, 'HOLT_BUSY')) throw error
        counts.busyLater++
      } finally {
        await db.close()
      }
    }
    expect(child?.exitCode).toBe(null)
    // Once the writer is dead, readers see one state, whatever it left; nothing is held.
    child?.kill('SIGKILL')
    await new Promise((resume) => child?.on('exit', resume))
    const steps = new Set<number>()
    for (let i = 0; i < 3; i++) {
      const db = await open(join(directory, 'db'), { ...OPTIONS, io, readOnly: true })
      steps.add(Number((await db.tree('t', { valueEncoding: 'utf8' })).get('step')))
      expect((await db.verify()).problems).toEqual([])
      await db.close()
    }
    collectGarbage()
    expect(steps.size).toBe(1)
    expect([...steps][0]).toBeGreaterThanOrEqual(writer.acknowledged)
  },
  60_000,
)
