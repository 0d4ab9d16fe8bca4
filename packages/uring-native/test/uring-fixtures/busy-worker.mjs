// A worker thread that keeps a UringIo as busy as it can, with every kind of thing outstanding, until it is ended.
import { parentPort, workerData } from 'node:worker_threads'

import { UringIo } from '../../dist/index.js'

const { directory, name } = workerData
const io = UringIo.create()
const log = await io.open(`${directory}/${name}.log`, { access: 'readwrite', create: true })
const data = await io.open(`${directory}/${name}.data`, { access: 'readwrite', create: true })
await io.allocate(log, 0, 1 << 20)
await io.write(data, 0, new Uint8Array(4 << 20))
const mapping = await io.map(log, 1 << 20)
await io.lock(`${directory}/${name}.lock`)
io.syncAfter(log, 60_000)

async function repeat(operation) {
  for (;;) await operation()
}
const bytes = new Uint8Array(256 << 10).fill(7)
for (let lane = 0; lane < 8; lane++) {
  void repeat(() => io.write(data, lane << 18, bytes))
  void repeat(() => io.read(data, lane << 18, new Uint8Array(256 << 10)))
  void repeat(async () => io.close(await io.open(`${directory}/${name}.data`, { access: 'read' })))
}
void repeat(() => io.writeDsync(log, 4096, bytes.subarray(0, 4096)))
void repeat(() => io.writeManyAndSync(data, [{ offsetBytes: 8 << 20, bytes }]))
void repeat(async () => {
  mapping?.populate(0, 1 << 20)
  await io.sync(log)
})
parentPort.postMessage('busy')
