import type { StoreEntry } from '../stores/store.js'
import type { Digest } from './digest.js'
import { LIST_ENTRIES, NO_SUCH_CALL, type Operation } from './operation.js'
import type { Session } from './session.js'

export function whyNoDirectories({ workload }: Session): string | undefined {
  return workload.directories.length === 0 ? 'the keys have no directories' : undefined
}

async function gets(
  session: Session,
  count: number,
  digest: Digest | undefined,
  nextKey: () => string,
): Promise<void> {
  const { store } = session
  const { getsAreAsync } = store
  let sink = 0
  for (let done = 0; done < count; done++) {
    const key = nextKey()
    const value = getsAreAsync ? await store.get(key) : (store.get(key) as Uint8Array | undefined)
    sink += value === undefined ? 1 : value.length
    if (digest !== undefined) digest.add(value)
  }
  session.sink += sink
}

export const get: Operation = {
  name: 'get',
  title: 'get',
  blockSize: 500,
  run: (session, count, digest) => gets(session, count, digest, () => session.nextKey()),
}

export const getAbsent: Operation = {
  name: 'getAbsent',
  title: 'get, absent',
  blockSize: 500,
  run: (session, count, digest) => gets(session, count, digest, () => session.nextAbsent()),
}

export const getReused: Operation = {
  name: 'getReused',
  title: 'get into reused memory',
  blockSize: 500,
  whyNot: ({ store }) => (store.getReused === undefined ? NO_SUCH_CALL : undefined),
  async run(session, count, digest) {
    const { getReused: read } = session.store
    let sink = 0
    for (let done = 0; done < count; done++) {
      const found = read?.(session.nextKey())
      if (found !== undefined) sink += found.lengthBytes + found.bytes[0]
      if (digest !== undefined) digest.add(found?.bytes.slice(0, found.lengthBytes))
    }
    session.sink += sink
  },
}

export const list: Operation = {
  name: 'list',
  title: `list ${String(LIST_ENTRIES)} with values`,
  blockSize: 20,
  async run(session, count, digest) {
    const { store } = session
    for (let done = 0; done < count; done++) {
      const found = store.list(session.nextKey(), LIST_ENTRIES)
      const entries = store.listsAreAsync ? await found : (found as readonly StoreEntry[])
      session.sink += entries.length
      if (digest === undefined) continue
      for (const { key, value } of entries) {
        digest.add(key)
        digest.add(value)
      }
    }
  },
}

export const listKeys: Operation = {
  name: 'listKeys',
  title: `list ${String(LIST_ENTRIES)} keys`,
  blockSize: 20,
  async run(session, count, digest) {
    const { store } = session
    for (let done = 0; done < count; done++) {
      const found = store.listKeys(session.nextKey(), LIST_ENTRIES)
      const keys = store.listsAreAsync ? await found : (found as readonly string[])
      session.sink += keys.length
      if (digest !== undefined) for (const key of keys) digest.add(key)
    }
  },
}

export const visit: Operation = {
  name: 'visit',
  title: `visit ${String(LIST_ENTRIES)} without copies`,
  blockSize: 20,
  whyNot: ({ store }) => (store.visit === undefined ? NO_SUCH_CALL : undefined),
  async run(session, count, digest) {
    const { visit: walk } = session.store
    let sink = 0
    const visitor = (bytes: Uint8Array, offsetBytes: number, lengthBytes: number): void => {
      sink += bytes[offsetBytes]
      if (digest !== undefined) digest.add(bytes.slice(offsetBytes, offsetBytes + lengthBytes))
    }
    for (let done = 0; done < count; done++) sink += walk?.(session.nextKey(), LIST_ENTRIES, visitor) ?? 0
    session.sink += sink
  },
}

export const listDirectory: Operation = {
  name: 'listDirectory',
  title: 'list a directory, 8 entries',
  blockSize: 50,
  whyNot: whyNoDirectories,
  async run(session, count, digest) {
    const { store } = session
    for (let done = 0; done < count; done++) {
      const found = store.listDirectory(session.nextDirectory())
      const names = store.listsAreAsync ? await found : (found as readonly string[])
      session.sink += names.length
      if (digest !== undefined) for (const name of names) digest.add(name)
    }
  },
}
