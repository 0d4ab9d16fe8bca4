// Prints CPU ns per operation of the facade over a database in files, 'os' mode, everything in memory. By hand, after
// a build; `--against` takes the dist/index.js of another build and measures the two in turns (A B A B …):
//   node bench/hot-paths.mjs [--keys 20000] [--rounds 5] [--only get,list] [--against OTHER/dist/index.js]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { pathToFileURL } from 'node:url'

const { values: args } = parseArgs({
  options: {
    keys: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    against: { type: 'string' },
    directory: { type: 'string', default: tmpdir() },
  },
})
const keyCount = Number(args.keys)
const rounds = Number(args.rounds)
const only = args.only?.split(',')

/** 8 tenants of 8 buckets; 40 characters. */
function objectKey(i) {
  const number = String(Math.imul(i, 0x2c1b3c6d) & 0x3ffffff).padStart(8, '0')
  const day = String((i >>> 6) % 28).padStart(2, '0')
  return `tenant-0${i & 7}/bucket-0${(i >>> 3) & 7}/2024/${day}/${number}.bin`
}

function shuffle(items) {
  const result = [...items]
  let state = 0x9e3779b9
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const j = Math.floor((state / 2 ** 32) * (i + 1))
    ;[result[i], result[j]] = [result[j], result[i]]
  }
  return result
}

const keys = shuffle(Array.from({ length: keyCount }, (_, i) => objectKey(i)))
const absent = keys.map((key) => key.replace('.bin', '.not'))
const value = new Uint8Array(60).fill(0x5a)
const prefixes = Array.from({ length: 8 }, (_, i) => `tenant-0${i}/`)
const BATCH = 1_000
const LISTS = 300
const few = keys.slice(0, 10_000)
const listed = keys.slice(0, LISTS)

function expect(actual, wanted) {
  if (actual !== wanted) throw new Error(`${actual} instead of ${wanted}`)
}

/** Each does so many operations as it returns. */
const jobs = {
  load: async (subject) => {
    await subject.reopen()
    const { db, tree } = subject
    await putInBatches(db, tree, keys)
    return keys.length
  },
  get: ({ tree }) => {
    let found = 0
    for (const key of keys) if (tree.get(key) !== undefined) found++
    expect(found, keys.length)
    return keys.length
  },
  'get 1000 hot': ({ tree }) => {
    let found = 0
    for (let round = 0; round < 20; round++)
      for (let i = 0; i < 1_000; i++) if (tree.get(keys[i]) !== undefined) found++
    expect(found, 20_000)
    return 20_000
  },
  absent: ({ tree }) => {
    let found = 0
    for (const key of absent) if (tree.get(key) !== undefined) found++
    expect(found, 0)
    return absent.length
  },
  put: async ({ tree }) => {
    for (const key of few) await tree.put(key, value)
    return few.length
  },
  batch: async ({ db, tree }) => {
    await putInBatches(db, tree, keys)
    return keys.length
  },
  list: ({ tree }) => {
    for (const key of listed) tree.list({ gte: key, limit: 100 })
    return listed.length
  },
  'scan entries': ({ tree }) => {
    let count = 0
    for (const key of listed) count += [...tree.scan({ gte: key, limit: 100 })].length
    return count === 0 ? 0 : listed.length
  },
  'scan keys': ({ tree }) => {
    let count = 0
    for (const key of listed) count += [...tree.keys({ gte: key, limit: 100 })].length
    return count === 0 ? 0 : listed.length
  },
  list_dir: ({ tree }) => {
    for (let round = 0; round < 250; round++)
      for (const prefix of prefixes) expect(tree.list({ prefix, delimiter: '/' }).entries.length, 8)
    return 250 * 8
  },
  'scan dir keys': ({ tree }) => {
    for (let round = 0; round < 250; round++)
      for (const prefix of prefixes) expect([...tree.keys({ prefix, delimiter: '/' })].length, 8)
    return 250 * 8
  },
  'create+delete': async ({ tree }) => {
    for (const key of absent.slice(0, 5_000)) {
      await tree.put(key, value)
      await tree.delete(key)
    }
    return Math.min(absent.length, 5_000)
  },
  rename: async ({ tree }) => {
    const count = Math.min(absent.length, 5_000)
    for (let i = 0; i < count; i++) await tree.rename(keys[i], absent[i])
    for (let i = 0; i < count; i++) await tree.rename(absent[i], keys[i])
    return 2 * count
  },
  mix: async ({ tree }) => {
    const count = 20
    for (let round = 0; round < count; round++) {
      for (let step = 0; step < 100; step++) {
        const at = (round * 7_919 + step * 131) % keys.length
        const key = keys[at]
        const kind = (step * 37) % 100
        if (kind < 45) tree.get(key)
        else if (kind < 65) await tree.put(key, value)
        else if (kind < 75) tree.list({ gte: key, limit: 100 })
        else if (kind < 85) tree.list({ prefix: prefixes[at & 7], delimiter: '/' })
        else if (kind < 95) {
          await tree.put(absent[at], value)
          await tree.delete(absent[at])
        } else {
          await tree.rename(key, absent[at])
          await tree.rename(absent[at], key)
        }
      }
    }
    // Five renames and five back: the operations are 105 a round.
    return count * 105
  },
}

async function putInBatches(db, tree, all) {
  for (let at = 0; at < all.length; at += BATCH) {
    const end = Math.min(all.length, at + BATCH)
    await db.atomic((tx) => {
      const batch = tx.in(tree)
      for (let i = at; i < end; i++) batch.put(all[i], value)
    })
  }
}

class Subject {
  constructor(name, holt) {
    this.name = name
    this.holt = holt
  }
  async reopen() {
    await this.close()
    this.directory = mkdtempSync(join(args.directory, 'holt-hot-'))
    this.db = await this.holt.open(this.directory, { durability: 'os', cacheBytes: 2 ** 30 })
    this.tree = await this.db.tree('objects')
    await this.tree.put('started', value)
  }
  async close() {
    if (this.db === undefined) return
    await this.db.close()
    this.db = undefined
    rmSync(this.directory, { recursive: true, force: true })
  }
}

const subjects = []
if (args.against !== undefined)
  subjects.push(new Subject('against', await import(pathToFileURL(args.against))))
subjects.push(new Subject('this', await import('../dist/index.js')))

try {
  for (const subject of subjects) {
    await subject.reopen()
    await putInBatches(subject.db, subject.tree, keys)
  }
  console.log(`${keyCount} keys, CPU ns per operation: median, least (wall clock's median)`)
  for (const [name, job] of Object.entries(jobs)) {
    if (only !== undefined && !only.includes(name)) continue
    const figures = subjects.map(() => ({ cpu: [], wall: [] }))
    for (let round = -2; round < rounds; round++) {
      for (const [i, subject] of subjects.entries()) {
        globalThis.gc?.()
        const beganMs = performance.now()
        const before = process.cpuUsage()
        const operations = await job(subject)
        const { user, system } = process.cpuUsage(before)
        if (round < 0) continue
        figures[i].cpu.push(((user + system) * 1e3) / operations)
        figures[i].wall.push(((performance.now() - beganMs) * 1e6) / operations)
      }
    }
    const cells = figures.map(({ cpu, wall }, i) => {
      const sorted = cpu.sort((a, b) => a - b)
      const middle = wall.sort((a, b) => a - b)[wall.length >> 1]
      return `${subjects[i].name} ${sorted[sorted.length >> 1].toFixed(0).padStart(7)} ${sorted[0].toFixed(0).padStart(7)} (${middle.toFixed(0).padStart(7)})`
    })
    console.log(`${name.padEnd(16)}${cells.join('   ')}`)
  }
} finally {
  for (const subject of subjects) await subject.close()
}
