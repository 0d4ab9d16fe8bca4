/**
 * `node scripts/run-conformance.mjs`: what the addon and the built package must do under any version of Node, by plain
 * node:assert and without a test runner, since those ask for a Node of their own. Runs from dist, never from sources.
 * Each failure is a line; the last line is a JSON object with what ran.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { conformance } from '../dist/conformance.js'
import { FsIo, UringIo, addressOfBytes, crc32c, openIo } from '../dist/index.js'

const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)))
const addonPath = join(packageRoot, 'build', 'holt_native.node')
const scenarios = join(packageRoot, 'test', 'uring-fixtures', 'process.mjs')
const TEST_LIMIT_MS = 60_000

/** Which Io a group is about; a group whose Io is not to be had here is counted as left out. */
const groups = [
  { name: 'addon', tests: addonTests },
  {
    name: 'UringIo',
    tests: () => conformanceTests(() => UringIo.create(), { map: true, lock: true, queueCounters: true }),
  },
  { name: 'FsIo', tests: () => conformanceTests(() => FsIo.create(), { queueCounters: true }) },
  { name: 'fallback', tests: fallbackTests },
  { name: 'processes', tests: processTests },
]

/** Why there is no UringIo here, or undefined. */
function whyNoUring() {
  const io = openIo({ prefer: 'uring' })
  void io.dispose()
  return io.kind === 'uring' ? undefined : io.fallbackReason
}

function makeDirectory() {
  return mkdtempSync(join(tmpdir(), 'holt-conformance-'))
}

/** @param {number} lengthBytes zeroed memory at an address that direct transfers take */
function alignedBytes(lengthBytes) {
  if (addressOfBytes === undefined) return new Uint8Array(lengthBytes)
  const memory = new Uint8Array(new SharedArrayBuffer(lengthBytes + 4096))
  const misaligned = addressOfBytes(memory) % 4096
  const start = misaligned === 0 ? 0 : 4096 - misaligned
  return memory.subarray(start, start + lengthBytes)
}

function conformanceTests(createIo, supports) {
  const tests = new Map()
  conformance({
    test: (title, body) => tests.set(title, body),
    supports,
    alignedBytes,
    factory: async () => {
      const directory = makeDirectory()
      return { io: createIo(), directory, cleanup: async () => rmSync(directory, { recursive: true }) }
    },
  })
  return tests
}

function addonTests() {
  const require = createRequire(import.meta.url)
  return new Map([
    ['the addon loads', async () => assert.equal(typeof require(addonPath).crc32c, 'function')],
    [
      'CRC-32C has the check value of its definition',
      async () => {
        const bytes = new TextEncoder().encode('123456789')
        assert.equal(crc32c(bytes), 0xe3069283)
        assert.equal(require(addonPath).crc32c(bytes, 0, bytes.length, 0), 0xe3069283)
      },
    ],
    [
      'CRC-32C by the processor and by tables agree on every length up to 4096',
      async () => {
        const { crc32c: fast, crc32cSoftware: plain } = require(addonPath)
        const bytes = Uint8Array.from({ length: 4099 }, (_, i) => (i * 31 + (i >> 5)) & 255)
        for (let length = 0; length <= 4096; length++)
          assert.equal(fast(bytes, 3, length, length), plain(bytes, 3, length, length))
      },
    ],
    [
      'shared memory keeps its address',
      async () => {
        const bytes = new Uint8Array(new SharedArrayBuffer(1 << 20))
        const address = addressOfBytes(bytes)
        globalThis.gc?.()
        assert.equal(addressOfBytes(new Uint8Array(bytes.buffer)), address)
        assert.equal(addressOfBytes(bytes.subarray(4096)), address + 4096)
      },
    ],
  ])
}

/** What is no addon of this system must not keep the package from working. */
function fallbackTests() {
  const broken = {
    'no addon': undefined,
    'an addon of another system': '\u007fELF of something else',
    'an empty file': '',
  }
  return new Map(
    Object.entries(broken).map(([what, content]) => [
      `${what}: node:fs takes over and says why`,
      async () => {
        const directory = makeDirectory()
        try {
          cpSync(join(packageRoot, 'dist'), join(directory, 'dist'), { recursive: true })
          cpSync(join(packageRoot, 'package.json'), join(directory, 'package.json'))
          symlinkSync(join(packageRoot, 'node_modules'), join(directory, 'node_modules'))
          if (content !== undefined) {
            mkdirSync(join(directory, 'build'))
            writeFileSync(join(directory, 'build', 'holt_native.node'), content)
          }
          const url = pathToFileURL(join(directory, 'dist', 'index.js')).href
          const copy = await import(url)
          const io = copy.openIo({ prefer: 'uring' })
          assert.equal(io.kind, 'fs')
          assert.match(io.fallbackReason, /^the native addon (?:is not built|does not load: \S.*)$/)
          const file = await io.open(join(directory, 'file'), { access: 'readwrite', create: true })
          await io.writeManyAndSync(file, [{ offsetBytes: 0, bytes: Uint8Array.of(1, 2, 3) }])
          const read = new Uint8Array(3)
          await io.read(file, 0, read)
          assert.deepEqual(read, Uint8Array.of(1, 2, 3))
          await io.dispose()
          assert.equal(copy.crc32c(new TextEncoder().encode('123456789')), 0xe3069283)
        } finally {
          rmSync(directory, { recursive: true })
        }
      },
    ]),
  )
}

/** @param {readonly string[]} args @returns {Promise<{ code: unknown, output: string }>} */
function runNode(args) {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { timeout: TEST_LIMIT_MS }, (error, stdout, stderr) => {
      const code = error === null ? 0 : (error.signal ?? error.code)
      resolve({ code, output: `${stdout}${stderr}` })
    })
  })
}

/** Ends of threads and processes while the kernel still owns memory. */
function processTests() {
  const expected = {
    terminateWorkers: { code: 0, output: 'descriptors 0\n' },
    exitWhileBusy: { code: 7, output: '' },
    idle: { code: 0, output: 'idle\n' },
    outstanding: { code: 0, output: 'ring done\nlog thread done\n' },
  }
  return new Map(
    Object.entries(expected).map(([scenario, ended]) => [
      scenario,
      async () => {
        const directory = makeDirectory()
        try {
          assert.deepEqual(await runNode([scenarios, scenario, directory]), ended)
        } finally {
          rmSync(directory, { recursive: true, force: true })
        }
      },
    ]),
  )
}

/** Runs one test within its time. */
async function runTest(body) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${String(TEST_LIMIT_MS)} ms`)), TEST_LIMIT_MS)
  })
  try {
    await Promise.race([body(), late])
  } finally {
    clearTimeout(timer)
  }
}

const uringMissing = whyNoUring()
const summary = {
  node: process.version,
  napi: process.versions.napi,
  modules: process.versions.modules,
  io: uringMissing === undefined ? 'uring' : `fs (${uringMissing})`,
  groups: {},
}
for (const { name, tests } of groups) {
  const needsUring = name === 'UringIo' || name === 'processes'
  const count = { passed: 0, failed: 0, leftOut: 0 }
  for (const [title, body] of tests()) {
    if (needsUring && uringMissing !== undefined) {
      count.leftOut++
      continue
    }
    try {
      await runTest(body)
      count.passed++
    } catch (error) {
      count.failed++
      console.log(`✗ ${name}: ${title}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  summary.groups[name] = count
}
console.log(JSON.stringify(summary))
process.exitCode = Object.values(summary.groups).some(({ failed }) => failed > 0) ? 1 : 0
