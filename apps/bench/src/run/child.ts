/** The process of one engine: answers the requests of `protocol.ts`. Entry of its own. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { DURABLE_OPERATIONS, OPERATIONS, operationNamed } from '../operations/catalog.js'
import { Digest } from '../operations/digest.js'
import { Session } from '../operations/session.js'
import { storeKind } from '../stores/catalog.js'
import { requireRival } from '../stores/rival-module.js'
import type { Store } from '../stores/store.js'
import { makeWorkload, type Workload } from '../workloads/workload.js'
import { allocatedBytes } from './files.js'
import { probeDevice } from './probe.js'
import type { Answer, OpenRequest, RequestKind, Requests } from './protocol.js'
import { residentBytes } from './resident.js'
import { measureStall } from './stall.js'
import { takeTurn, timed } from './timing.js'

interface Open {
  readonly session: Session
  readonly directory: string
}

/** Keys of the load that does not count. */
const WARM_UP_KEYS = 20_000

let current: Open | undefined
let loads = 0

function opened(): Open {
  if (current === undefined) throw new Error('no store is open')
  return current
}

async function openStore(request: OpenRequest): Promise<Store> {
  const { store, directory, durability, cacheBytes } = request
  mkdirSync(directory, { recursive: true })
  return storeKind(store).open({ directory, durability, cacheBytes })
}

/** A small load before the one that is timed, until the compiler has done its work: as with all that is timed. */
async function warmUp(request: OpenRequest, workload: Workload): Promise<void> {
  const directory = join(request.directory, 'warm-up')
  const keys = workload.keys.slice(0, WARM_UP_KEYS)
  const session = new Session(await openStore({ ...request, directory }), { ...workload, keys })
  await session.load()
  await session.store.close()
  rmSync(directory, { recursive: true, force: true })
}

/** What is measured is the opening of files, not of modules: holt's are loaded with this program, the rivals' here. */
function loadModules({ store }: OpenRequest): void {
  const { rivalPackage } = storeKind(store)
  if (rivalPackage !== undefined) requireRival(rivalPackage)
}

const HANDLERS: {
  readonly [K in RequestKind]: (request: Requests[K]['request']) => Promise<Requests[K]['answer']>
} = {
  async open(request) {
    const workload = makeWorkload(request.workload)
    await warmUp(request, workload)
    const session = new Session(await openStore(request), workload)
    current = { session, directory: request.directory }
    const loaded = await timed(async () => {
      await session.load()
      return workload.keys.length
    })
    await session.store.settle?.()
    const missing: Record<string, string> = {}
    for (const { name, whyNot } of [...OPERATIONS, ...DURABLE_OPERATIONS]) {
      const reason = whyNot?.(session)
      if (reason !== undefined) missing[name] = reason
    }
    return {
      keyCount: workload.keys.length,
      someKey: workload.keys[workload.keys.length >> 1],
      loaded,
      missing,
    }
  },

  async load(request) {
    const { workload } = opened().session
    const directory = join(request.directory, `load-${String(loads++)}`)
    const session = new Session(await openStore({ ...request, directory }), workload)
    const timing = await timed(async () => {
      await session.load()
      return workload.keys.length
    })
    await session.store.close()
    rmSync(directory, { recursive: true, force: true })
    return timing
  },

  async answers({ operation, amount }) {
    const { session } = opened()
    const digest = new Digest()
    session.rewind()
    await operationNamed(operation).run(session, amount, digest)
    return { digest: digest.end() }
  },

  turn: ({ operation, amount }) => takeTurn(opened().session, operationNamed(operation), amount),

  stall: ({ lengthMs }) => measureStall(opened().session, lengthMs),

  async finish({ compact }) {
    const { session, directory } = opened()
    if (compact) await session.store.compact?.()
    await session.store.close()
    current = undefined
    return { diskBytes: allocatedBytes(directory) }
  },

  async reopen(request) {
    loadModules(request)
    const startedMs = performance.now()
    const store = await openStore(request)
    const first = await store.get(request.key)
    const openMs = performance.now() - startedMs
    if (first === undefined)
      throw new Error('a key that was put is not there after the store was opened again')
    await store.close()
    return { openMs }
  },

  async readAll(request) {
    const { keys } = makeWorkload(request.workload)
    loadModules(request)
    const beforeBytes = await residentBytes()
    const store = await openStore(request)
    for (const key of keys) if ((await store.get(key)) === undefined) throw new Error(`${key} is lost`)
    const grownBytes = (await residentBytes()) - beforeBytes
    await store.close()
    // The keys are held until here, so that they count neither before nor after.
    return { residentBytes: grownBytes, keyCount: keys.length }
  },

  probe: probeDevice,
}

async function answer(kind: RequestKind, request: unknown): Promise<Answer> {
  try {
    const handler = HANDLERS[kind] as (request: unknown) => Promise<Requests[RequestKind]['answer']>
    return { answer: await handler(request) }
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

process.on('message', ({ kind, request }: { readonly kind: RequestKind; readonly request: unknown }) => {
  void answer(kind, request).then((result) => process.send?.(result))
})
// Ctrl-C reaches us too; the leader ends us when it has heard of it.
process.on('SIGINT', () => undefined)
// Nobody is left to measure for.
process.on('disconnect', () => process.exit())
