import type { Store, StoreEntry } from '../stores/store.js'
import type { Digest } from './digest.js'
import { BATCH_ENTRIES, LIST_ENTRIES, type Operation, type OperationName, WRITERS } from './operation.js'
import { whyNoDirectories } from './reads.js'
import type { Session } from './session.js'

function acknowledgedPut(name: OperationName, title: string, blockSize: number): Operation {
  return {
    name,
    title,
    blockSize,
    async run(session, count, digest) {
      const { store } = session
      const { writesAreAsync } = store
      for (let done = 0; done < count; done++) {
        const key = session.nextKey()
        const put = store.put(key, session.nextValue())
        if (writesAreAsync) await put
        if (digest !== undefined) digest.add(await store.get(key))
      }
    },
  }
}

function manyPuts(
  name: OperationName,
  title: string,
  entryCount: number,
  write: (store: Store, entries: readonly (readonly [string, Buffer])[]) => unknown,
): Operation {
  return {
    name,
    title,
    blockSize: entryCount,
    async run(session, count, digest) {
      const { store } = session
      for (let done = 0; done < count; done += entryCount) {
        const entries: (readonly [string, Buffer])[] = []
        for (let at = 0; at < Math.min(entryCount, count - done); at++)
          entries.push([session.nextKey(), session.nextValue()])
        await write(store, entries)
        if (digest !== undefined) for (const [key] of entries) digest.add(await store.get(key))
      }
    },
  }
}

export const put = acknowledgedPut('put', 'put, each awaited', 200)

export const putTogether = manyPuts(
  'putTogether',
  `put, ${String(BATCH_ENTRIES)} awaited together`,
  BATCH_ENTRIES,
  (store, entries) => store.putTogether(entries),
)

export const putBatch = manyPuts(
  'putBatch',
  `put, ${String(BATCH_ENTRIES)} in one transaction`,
  BATCH_ENTRIES,
  (store, entries) => store.putBatch(entries),
)

export const durablePut = acknowledgedPut('durablePut', 'durable put, one writer', 4)

export const durablePutTogether = manyPuts(
  'durablePutTogether',
  `durable put, ${String(WRITERS)} writers`,
  WRITERS,
  (store, entries) => store.putTogether(entries),
)

export const createDelete: Operation = {
  name: 'createDelete',
  title: 'create + delete',
  blockSize: 100,
  async run(session, count, digest) {
    const { store } = session
    const { writesAreAsync } = store
    for (let done = 0; done < count; done++) {
      const key = session.nextAbsent()
      const created = store.put(key, session.nextValue())
      if (writesAreAsync) await created
      if (digest !== undefined) digest.add(await store.get(key))
      const removed = store.remove(key)
      if (writesAreAsync) await removed
      if (digest !== undefined) digest.add(await store.get(key))
    }
  },
}

/** Names that differ from a key at the end, so that a rename stays in its directory. */
function otherName(key: string): string {
  return `${key}.renamed`
}

/** A key to another name, or the one that was renamed before back to its own. */
function nextRename(session: Session): { readonly from: string; readonly to: string } {
  const { renamed } = session
  if (renamed !== undefined) {
    session.renamed = undefined
    return { from: renamed.to, to: renamed.from }
  }
  const from = session.nextKey()
  session.renamed = { from, to: otherName(from) }
  return session.renamed
}

export const rename: Operation = {
  name: 'rename',
  title: 'rename',
  // Even, so that every block undoes what it did.
  blockSize: 100,
  async run(session, count, digest) {
    const { store } = session
    const { writesAreAsync } = store
    for (let done = 0; done < count; done++) {
      const { from, to } = nextRename(session)
      const renamed = store.rename(from, to)
      if (writesAreAsync) await renamed
      if (digest === undefined) continue
      digest.add(await store.get(from))
      digest.add(await store.get(to))
    }
  },
}

type MixStep = 'get' | 'put' | 'list' | 'listDirectory' | 'createDelete' | 'rename'
const MIX: readonly (readonly [MixStep, number])[] = [
  ['get', 45],
  ['put', 20],
  ['list', 10],
  ['listDirectory', 10],
  ['createDelete', 10],
  ['rename', 5],
]
/** The steps of the mix, one after the other in an order that spreads each of them evenly. */
export const MIX_STEPS: readonly MixStep[] = MIX.flatMap(([step, share]) =>
  Array.from({ length: share }, (_, index) => ({ step, at: (index + 0.5) / share })),
)
  .sort((left, right) => left.at - right.at)
  .map(({ step }) => step)

export const mix: Operation = {
  name: 'mix',
  title: 'metadata mix',
  // Twice the steps, so that the renames come out even.
  blockSize: 2 * MIX_STEPS.length,
  whyNot: (session) =>
    session.store.keepsOrder ? whyNoDirectories(session) : 'its listings would sort all keys anew',
  async run(session, count, digest) {
    const { store } = session
    const { getsAreAsync, listsAreAsync, writesAreAsync } = store
    let sink = 0
    for (let done = 0; done < count; done++) {
      switch (MIX_STEPS[done % MIX_STEPS.length]) {
        case 'get': {
          const found = store.get(session.nextKey())
          const value = getsAreAsync ? await found : (found as Uint8Array | undefined)
          sink += value?.length ?? 1
          if (digest !== undefined) digest.add(value)
          break
        }
        case 'put': {
          // Never the key that is at another name just now: it would be there twice.
          let key = session.nextKey()
          while (key === session.renamed?.from) key = session.nextKey()
          const written = store.put(key, session.nextValue())
          if (writesAreAsync) await written
          break
        }
        case 'list': {
          const found = store.list(session.nextKey(), LIST_ENTRIES)
          const entries = listsAreAsync ? await found : (found as readonly StoreEntry[])
          sink += entries.length
          if (digest !== undefined) addEntries(digest, entries)
          break
        }
        case 'listDirectory': {
          const found = store.listDirectory(session.nextDirectory())
          const names = listsAreAsync ? await found : (found as readonly string[])
          sink += names.length
          if (digest !== undefined) for (const name of names) digest.add(name)
          break
        }
        case 'createDelete': {
          const key = session.nextAbsent()
          const created = store.put(key, session.nextValue())
          if (writesAreAsync) await created
          const removed = store.remove(key)
          if (writesAreAsync) await removed
          break
        }
        case 'rename': {
          const { from, to } = nextRename(session)
          const renamed = store.rename(from, to)
          if (writesAreAsync) await renamed
          break
        }
      }
    }
    session.sink += sink
  },
}

function addEntries(digest: Digest, entries: readonly StoreEntry[]): void {
  for (const { key, value } of entries) {
    digest.add(key)
    digest.add(value)
  }
}
