/**
 * The I/O worker's thread: opens an Io and the writing half of the store, then commits the epochs that arrive.
 * Started by `thread-worker.ts`.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { Slab } from '@holt/blob-buf-pool'
import { type BlobStore, SlotTable } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import { type Io, openIo } from '@holt/uring-native'
import { EpochCommitter } from './epoch-committer.js'
import {
  type Answer,
  type FromWorker,
  sendError,
  type ToWorker,
  type WorkerStart,
} from './worker-messages.js'

interface StoreModule {
  readonly openBlobStore: (data: unknown, io: Io) => Promise<BlobStore>
}

const port = parentPort
if (port === null)
  throw new HoltError('HOLT_UNSUPPORTED', 'io-worker is the entry of a worker thread, not a module to import')

const start = workerData as WorkerStart
const tell = (message: FromWorker): void => {
  port.postMessage(message)
}

async function open(): Promise<{ committer: EpochCommitter; store: BlobStore; io: Io; slab: Slab }> {
  const io = openIo({ prefer: start.io })
  const slab = Slab.attach(start.slab)
  const module = (await import(start.storeModuleUrl)) as StoreModule
  const store = await module.openBlobStore(start.storeData, io)
  return {
    io,
    slab,
    store,
    committer: new EpochCommitter({
      store,
      slab,
      slots: SlotTable.attach(start.slots),
      // The bound is at the other end: what was posted is here already.
      queueCapacity: Number.MAX_SAFE_INTEGER,
      groupEpochs: start.groupEpochs,
      io,
    }),
  }
}

// Messages wait until the store is open; then they are handled one by one in their order.
const opened = open()
opened.then(
  () => {
    tell({ kind: 'ready' })
  },
  (error: unknown) => {
    tell({ kind: 'failed', error: sendError(error) })
    port.close()
  },
)

const handle = (message: ToWorker): void => {
  void opened.then(
    async ({ committer, store, io, slab }) => {
      if (message.kind === 'stop') {
        await committer.stop()
        await store.close()
        await io.dispose()
        port.close()
        return
      }
      if (message.kind === 'question') {
        const { number, question } = message
        const answered: Promise<Answer> =
          question.kind === 'vacuum'
            ? committer.vacuum(question.maxFrames)
            : committer.backup(question.request)
        const answer = await answered.then(
          (result) => ({ result }),
          (error: unknown) => ({ error: sendError(error) }),
        )
        tell({ kind: 'answer', number, answer })
        return
      }
      if (message.slab !== undefined) slab.adopt(message.slab)
      const { error, ...report } = await committer.submit(message.epoch)
      tell({ kind: 'report', report, error: error === undefined ? undefined : sendError(error) })
    },
    () => undefined,
  )
}

// All that is there at once: epochs that wait are joined.
port.on('message', (message: ToWorker) => {
  handle(message)
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
    handle(next.message as ToWorker)
})
