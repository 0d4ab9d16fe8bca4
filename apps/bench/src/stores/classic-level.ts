import { join } from 'node:path'

import { listByAsyncSeeks } from './list-directory.js'
import { requireRival } from './rival-module.js'
import type { Store, StoreOptions } from './store.js'

/** As much of classic-level 3 as is used here. */
interface LevelIterator<T> {
  next(): Promise<T | undefined>
  nextv(count: number): Promise<T[]>
  seek(target: string): void
  close(): Promise<void>
}
type LevelOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: string }
interface LevelDatabase {
  open(options: object): Promise<void>
  getSync(key: string): Uint8Array | undefined
  put(key: string, value: Uint8Array, options: object): Promise<void>
  del(key: string, options: object): Promise<void>
  batch(operations: readonly LevelOperation[], options: object): Promise<void>
  iterator(range: object): LevelIterator<[string, Uint8Array]>
  keys(range: object): LevelIterator<string>
  compactRange(start: string, end: string): Promise<void>
  close(): Promise<void>
}
type LevelClass = new (path: string, options: object) => LevelDatabase

/** Above every text that a workload makes. */
const LAST_KEY = '\u{10ffff}'

/** classic-level: blocking reads of single keys, everything else by its promises. */
export async function openClassicLevel({ directory, durability, cacheBytes }: StoreOptions): Promise<Store> {
  const { ClassicLevel } = requireRival('classic-level') as { ClassicLevel: LevelClass }
  const db = new ClassicLevel(join(directory, 'level'), { keyEncoding: 'utf8', valueEncoding: 'view' })
  await db.open({ cacheSize: cacheBytes })
  const options = { sync: durability === 'disk' }
  const puts = (entries: readonly (readonly [string, Buffer])[]): LevelOperation[] =>
    entries.map(([key, value]) => ({ type: 'put', key, value }))
  return {
    getsAreAsync: false,
    listsAreAsync: true,
    writesAreAsync: true,
    keepsOrder: true,
    get: (key) => db.getSync(key),
    put: (key, value) => db.put(key, value, options),
    putBatch: (entries) => db.batch(puts(entries), options),
    async putTogether(entries) {
      await Promise.all(entries.map(([key, value]) => db.put(key, value, options)))
    },
    remove: (key) => db.del(key, options),
    async rename(from, to) {
      const value = db.getSync(from)
      if (value === undefined) throw new Error(`there is no ${from}`)
      await db.batch(
        [
          { type: 'put', key: to, value },
          { type: 'del', key: from },
        ],
        options,
      )
    },
    async list(from, limit) {
      const iterator = db.iterator({ gte: from, limit })
      const entries = await iterator.nextv(limit)
      await iterator.close()
      return entries.map(([key, value]) => ({ key, value }))
    },
    async listKeys(from, limit) {
      const iterator = db.keys({ gte: from, limit })
      const keys = await iterator.nextv(limit)
      await iterator.close()
      return keys
    },
    async listDirectory(prefix) {
      const iterator = db.keys({ gte: prefix, highWaterMarkBytes: 1 })
      let isFirst = true
      const names = await listByAsyncSeeks(prefix, (from) => {
        if (!isFirst) iterator.seek(from)
        isFirst = false
        return iterator.next()
      })
      await iterator.close()
      return names
    },
    compact: () => db.compactRange('', LAST_KEY),
    close: () => db.close(),
  }
}
