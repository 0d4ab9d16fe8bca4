// What a lease costs, in nanoseconds of one thread: `node bench/lease.mjs` after a build. Takes about two seconds.
// Each line is the best of several runs, which is what the code costs when nothing else wants the core.
import { LatchTable, LeaseDesk, Slab } from '../dist/index.js'

const RUNS = 15
const OPERATIONS = 60_000

function measure(name, run) {
  let bestNs = Infinity
  for (let i = 0; i < RUNS; i++) {
    const from = process.hrtime.bigint()
    run(OPERATIONS)
    bestNs = Math.min(bestNs, Number(process.hrtime.bigint() - from) / OPERATIONS)
  }
  console.log(`${name.padEnd(58)} ${bestNs.toFixed(1).padStart(7)} ns`)
}

const slab = Slab.create({ frameBytes: 4096, frameCount: 2048 })
const held = new Int32Array(2048)
let sum = 0

measure('slab: lease and release', (n) => {
  for (let i = 0; i < n; i++) slab.release(slab.lease())
})
measure('slab: lease and release, 512 at a time', (n) => {
  for (let i = 0; i < n; i += 512) {
    for (let k = 0; k < 512; k++) held[k] = slab.lease()
    for (let k = 0; k < 512; k++) slab.release(held[k])
  }
})
for (let k = 0; k < 2048; k++) held[k] = slab.lease()
measure('slab: release one anywhere and lease it, all others out', (n) => {
  for (let i = 0; i < n; i++) {
    const k = Math.imul(i, 1_664_525) & 2047
    slab.release(held[k])
    held[k] = slab.lease()
  }
})
measure('slab: lease refused, none free', (n) => {
  for (let i = 0; i < n; i++) sum += slab.lease()
})
for (let k = 0; k < 2048; k++) slab.release(held[k])
measure('slab: frameCount - freeCount', (n) => {
  for (let i = 0; i < n; i++) sum += slab.frameCount - slab.freeCount
})

const desk = new LeaseDesk(slab)
measure('desk: lease and release in one turn', (n) => {
  for (let i = 0; i < n; i++) desk.lease().release()
})
const kept = []
measure('desk: 64 leases, then 64 releases', (n) => {
  for (let i = 0; i < n; i += 64) {
    for (let k = 0; k < 64; k++) kept.push(desk.lease())
    while (kept.length > 0) kept.pop().release()
  }
})

const words = () => new Int32Array(new SharedArrayBuffer(64))
const latches = new LatchTable(words(), words())
measure('latch: optimistic reading', (n) => {
  for (let i = 0; i < n; i++) if (!latches.validate(3, latches.readVersion(3))) sum++
})
measure('latch: shared', (n) => {
  for (let i = 0; i < n; i++) {
    latches.lockShared(3)
    latches.unlockShared(3)
  }
})
measure('latch: exclusive', (n) => {
  for (let i = 0; i < n; i++) {
    latches.lockExclusive(3)
    latches.unlockExclusive(3)
  }
})
if (sum < 0) console.log(sum)
