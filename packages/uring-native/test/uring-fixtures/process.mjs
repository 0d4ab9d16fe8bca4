// One scenario of a process's life, named by the first argument. It reports by its output and by how it ends.
import { execFileSync } from 'node:child_process'
import { readdirSync, writeSync } from 'node:fs'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

import { Ring, UringIo, openIo } from '../../dist/index.js'
import { armFaults, disarmFaults, faultHits } from '../../dist/testing-faults.js'

const [scenario, directory] = process.argv.slice(2)
const descriptors = () => readdirSync('/proc/self/fd').length
const say = (text) => writeSync(1, `${text}\n`)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const openFile = (io, name) => io.open(`${directory}/${name}`, { access: 'readwrite', create: true })

/** Starts two workers at a time, ends them while they are busy, and reports how many descriptors that left open. */
async function terminate(script, data) {
  const round = async (number) => {
    const workers = [1, 2].map(
      (i) =>
        new Worker(new URL(script, import.meta.url), {
          workerData: { directory, name: `${number}-${i}`, ...data },
        }),
    )
    await Promise.all(workers.map((worker) => once(worker, 'message')))
    await pause(number * 7)
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
  await round(0) // what the first worker of a process opens once stays open
  const before = descriptors()
  for (let number = 1; number <= 4; number++) await round(number)
  say(`descriptors ${descriptors() - before}`)
}

/** A ring with reads of a pipe in flight, which end only when something is written. */
async function waitingRing() {
  execFileSync('mkfifo', [`${directory}/fifo`])
  const ring = Ring.create()
  ring.open(0, `${directory}/fifo`, { access: 'readwrite' })
  await ring.park()
  ring.poll()
  const { file } = ring.take(0)
  for (let handle = 1; handle <= 3; handle++) {
    ring.queue({ op: 'read', handle, file, offsetBytes: 0, bytes: new Uint8Array(10), once: true })
  }
  ring.poll()
  return { ring, file }
}

const scenarios = {
  terminateWorkers: () => terminate('busy-worker.mjs', {}),

  async terminateRings() {
    execFileSync('mkfifo', [`${directory}/fifo`])
    await terminate('busy-ring-worker.mjs', { submissionThread: false })
    await terminate('busy-ring-worker.mjs', { submissionThread: true })
  },

  async exitWithWaitingRing() {
    await waitingRing()
    process.exit(7)
  },

  async waitingRingKeepsAlive() {
    const { ring, file } = await waitingRing()
    setTimeout(() => {
      say('still here')
      for (let handle = 4; handle <= 6; handle++) {
        ring.queue({ op: 'write', handle, file, offsetBytes: 0, bytes: new Uint8Array(10), once: true })
      }
      ring.poll()
    }, 20).unref()
    while (ring.inFlight > 0) {
      await ring.park()
      ring.poll()
    }
    say(`${ring.completions.length} completions`)
  },

  async idleRing() {
    const memory = new Uint8Array(new SharedArrayBuffer(1 << 16))
    const ring = Ring.create({ submissionThread: true })
    ring.registerBuffers([memory])
    ring.open(0, `${directory}/file`, { access: 'readwrite', create: true, registered: true })
    await ring.park()
    ring.poll()
    ring.nop(1) // queued, never handed over
    say('idle')
  },

  /** Memory is transferred away while reads wait for it, dropped by its new owner, and taken by others. */
  async transferredMemory() {
    const { ring, file } = await waitingRing()
    for (let handle = 10; handle < 40; handle++) {
      const bytes = new Uint8Array(4096)
      ring.queue({ op: 'read', handle, file, offsetBytes: 0, bytes, once: true })
      ring.poll()
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
    }
    globalThis.gc()
    await pause(20) // what was swept is given back by another thread
    globalThis.gc()
    const others = Array.from({ length: 2000 }, () => new Uint8Array(4096))
    for (let handle = 100; handle < 133; handle++) {
      const bytes = new Uint8Array(4096).fill(255)
      ring.queue({ op: 'write', handle, file, offsetBytes: 0, bytes, once: true })
    }
    while (ring.inFlight > 0) {
      await ring.park()
      ring.poll()
    }
    const failures = ring.completions.filter(({ error }) => error?.code === 'HOLT_INVALID_ARGUMENT')
    say(
      `${failures.length} failures, ${others.filter((bytes) => bytes.some((byte) => byte !== 0)).length} foreign`,
    )
  },

  /** Rings made and disposed in one thread, one after the other and side by side. */
  async manyRings() {
    const round = async () => {
      const rings = Array.from({ length: 5 }, () => Ring.create({ entries: 8 }))
      for (const ring of rings) ring.open(0, `${directory}/file`, { access: 'readwrite', create: true })
      for (const ring of rings) await ring.park()
      for (const ring of rings) await ring.dispose()
    }
    await round()
    const before = descriptors()
    for (let i = 0; i < 10; i++) await round()
    say(`descriptors ${descriptors() - before}`)
  },

  async exitWhileBusy() {
    const io = UringIo.create()
    const file = await openFile(io, 'file')
    const bytes = new Uint8Array(1 << 20)
    for (let i = 0; i < 100; i++) void io.write(file, i << 20, bytes)
    void io.writeDsync(file, 0, bytes)
    io.syncAfter(file, 1)
    await pause(0)
    process.exit(7)
  },

  async idle() {
    const io = UringIo.create()
    const file = await openFile(io, 'file')
    await io.write(file, 0, new Uint8Array(100))
    await io.writeDsync(file, 0, new Uint8Array(100))
    await io.map(file, 100)
    io.syncAfter(file, 3_600_000)
    io.setTimer(3_600_000, () => undefined)
    say('idle')
  },

  async outstanding() {
    const io = UringIo.create()
    const file = await openFile(io, 'file')
    const bytes = new Uint8Array(1 << 20)
    void io.writeManyAndSync(file, [{ offsetBytes: 0, bytes }]).then(async () => {
      say('ring done')
      await io.writeDsync(file, 0, bytes)
      say('log thread done')
    })
  },

  /** After every look the kernel's flag says that there is more to do. */
  async workFlagStaysUp() {
    const io = UringIo.create()
    const file = await openFile(io, 'file')
    armFaults([{ at: 'ringWorkFlag', errno: 'EIO', calls: Infinity }])
    await io.write(file, 0, new Uint8Array(100).fill(7))
    const bytes = new Uint8Array(50)
    io.readManySync(file, [{ offsetBytes: 50, bytes }])
    await io.readMany(file, [{ offsetBytes: 0, bytes }])
    await pause(5)
    say(`${faultHits()[0] > 2 && bytes.every((byte) => byte === 7)}`)
    disarmFaults()
    await io.dispose()
  },

  /** The delayed sync has begun, or is done, and the event loop has not heard of it. */
  async cancelledTooLate() {
    const io = UringIo.create()
    const file = await openFile(io, 'file')
    await io.write(file, 0, new Uint8Array(100))
    const sync = io.syncAfter(file, 0)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    sync.cancel()
    await sync.done
    say('settled')
  },

  async mapped() {
    const io = UringIo.create()
    const file = await openFile(io, 'mapped')
    await io.allocate(file, 0, 1 << 20)
    const mapping = await io.map(file, 1 << 20)
    if (mapping === undefined) {
      say('no mapping')
      return
    }
    mapping.populate(0, 1 << 20)
    for (let i = 0; i < 1 << 20; i++) mapping.bytes[i] = (i * 7) & 255
    say('stored')
    setInterval(() => undefined, 1000)
  },

  async sizeLimit() {
    const io = UringIo.create()
    const file = await openFile(io, 'limited')
    const bytes = new Uint8Array(1 << 20).fill(1)
    const code = (error) => `${error.code} ${error.errno}`
    say(`write ${await io.write(file, 0, bytes).catch(code)}`)
    say(`writeMany ${await io.writeMany(file, [{ offsetBytes: 0, bytes }]).catch(code)}`)
    say(`writeDsync ${await io.writeDsync(file, 0, bytes).catch(code)}`)
    try {
      io.writeSync(file, 0, bytes)
    } catch (error) {
      say(`writeSync ${code(error)}`)
    }
    await io.write(file, 0, bytes.subarray(0, 1000))
    say('small write ok')
    await io.dispose()
  },

  async refused() {
    try {
      UringIo.create()
    } catch (error) {
      say(`${error.code}: ${error.message}`)
    }
    const io = openIo({ prefer: 'uring' })
    say(`${io.kind}: ${io.fallbackReason}`)
    await io.dispose()
  },
}

await scenarios[scenario]()
