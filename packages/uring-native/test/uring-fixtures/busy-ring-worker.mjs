// A worker thread that keeps a Ring busy with every kind of thing, some of which never ends, until it is ended.
import { parentPort, workerData } from 'node:worker_threads'

import { Ring } from '../../dist/index.js'

const { directory, name, submissionThread } = workerData
const ring = Ring.create({ entries: 32, submissionThread })
const memory = new Uint8Array(new SharedArrayBuffer(1 << 20))
ring.registerBuffers([memory])

async function opened(handle, path) {
  ring.open(handle, path, { access: 'readwrite', create: true, registered: true })
  for (;;) {
    await ring.park()
    ring.poll()
    const completion = ring.take(handle)
    if (completion?.error) throw completion.error
    if (completion) return completion.file
  }
}
const file = await opened(1, `${directory}/${name}.data`)
const fifo = await opened(2, `${directory}/fifo`)
for (let i = 0; i < 4; i++) {
  ring.queue({
    op: 'read',
    handle: 10 + i,
    file: fifo,
    offsetBytes: 0,
    bytes: new Uint8Array(100),
    once: true,
  })
}
ring.poll()

let next = 100
const refill = () => {
  for (;;) {
    const offsetBytes = (next % 16) * 65536
    const bytes = next % 3 === 0 ? memory.subarray(offsetBytes, offsetBytes + 65536) : new Uint8Array(65536)
    const queued =
      next % 5 === 4
        ? ring.syncDirectory(next, directory)
        : next % 2 === 0
          ? ring.write(next, file, offsetBytes, bytes)
          : ring.read(next, file, offsetBytes, bytes)
    if (!queued.queued) return
    next++
  }
}
parentPort.postMessage('busy')
for (;;) {
  refill()
  await ring.park()
  ring.poll()
  ring.completions.length = 0
}
