import { join } from 'node:path'

import { listByAsyncSeeks } from './list-directory.js'
import { requireRival } from './rival-module.js'
import type { Store, StoreEntry, StoreOptions } from './store.js'

/** As much of rocksdb 5 as is used here. */
type Callback<T = void> = (error: Error | null | undefined, result: T) => void
type RocksOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: string }
interface RocksIterator {
  next(callback: (error: Error | null | undefined, key?: string, value?: Buffer) => void): void
  seek(target: string): void
  end(callback: Callback): void
}
interface RocksDatabase {
  open(options: object, callback: Callback): void
  get(key: string, options: object, callback: Callback<Buffer>): void
  put(key: string, value: Buffer, options: object, callback: Callback): void
  del(key: string, options: object, callback: Callback): void
  batch(operations: readonly RocksOperation[], options: object, callback: Callback): void
  iterator(range: object): RocksIterator
  compactRange(start: string, end: string, callback: Callback): void
  close(callback: Callback): void
}

/** Above every text that a workload makes. */
const LAST_KEY = '\u{10ffff}'

/** rocksdb by its callbacks, the only way it has. */
export async function openRocksdb({ directory, durability, cacheBytes }: StoreOptions): Promise<Store> {
  const create = requireRival('rocksdb') as (path: string) => RocksDatabase
  const db = create(join(directory, 'rocks'))
  await done((callback) => {
    db.open({ cacheSize: cacheBytes }, callback)
  })
  const options = { sync: durability === 'disk' }
  const get = (key: string): Promise<Buffer | undefined> =>
    new Promise((resolve, reject) => {
      db.get(key, {}, (error, value) => {
        if (!error) resolve(value)
        else if (/notfound/i.test(error.message)) resolve(undefined)
        else reject(error)
      })
    })
  const put = (key: string, value: Buffer): Promise<void> =>
    done((callback) => {
      db.put(key, value, options, callback)
    })
  const batch = (operations: readonly RocksOperation[]): Promise<void> =>
    done((callback) => {
      db.batch(operations, options, callback)
    })
  const putAll = (entries: readonly (readonly [string, Buffer])[]): Promise<void> =>
    batch(entries.map(([key, value]) => ({ type: 'put', key, value })))
  return {
    getsAreAsync: true,
    listsAreAsync: true,
    writesAreAsync: true,
    keepsOrder: true,
    get,
    put,
    putBatch: putAll,
    putTogether: putAll,
    remove: (key) =>
      done((callback) => {
        db.del(key, options, callback)
      }),
    async rename(from, to) {
      const value = await get(from)
      if (value === undefined) throw new Error(`there is no ${from}`)
      await batch([
        { type: 'put', key: to, value },
        { type: 'del', key: from },
      ])
    },
    list: (from, limit) =>
      collect<StoreEntry>(db.iterator({ gte: from, limit, keyAsBuffer: false }), (key, value) => ({
        key,
        value,
      })),
    listKeys: (from, limit) =>
      collect(db.iterator({ gte: from, limit, keyAsBuffer: false, values: false }), (key) => key),
    async listDirectory(prefix) {
      const iterator = db.iterator({ gte: prefix, keyAsBuffer: false, values: false, highWaterMark: 1 })
      let isFirst = true
      const names = await listByAsyncSeeks(prefix, (from) => {
        if (!isFirst) iterator.seek(from)
        isFirst = false
        return new Promise<string | undefined>((resolve, reject) => {
          iterator.next((error, key) => {
            if (error) reject(error)
            else resolve(key)
          })
        })
      })
      await ended(iterator)
      return names
    },
    compact: () =>
      done((callback) => {
        db.compactRange('', LAST_KEY, callback)
      }),
    close: () =>
      done((callback) => {
        db.close(callback)
      }),
  }
}

function done(start: (callback: Callback) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => {
      if (error) reject(error)
      else resolve()
    })
  })
}

function ended(iterator: RocksIterator): Promise<void> {
  return done((callback) => {
    iterator.end(callback)
  })
}

async function collect<T>(iterator: RocksIterator, project: (key: string, value: Buffer) => T): Promise<T[]> {
  const found: T[] = []
  await new Promise<void>((resolve, reject) => {
    const step = (error: Error | null | undefined, key?: string, value?: Buffer): void => {
      if (error) {
        reject(error)
        return
      }
      if (key === undefined || value === undefined) {
        resolve()
        return
      }
      found.push(project(key, value))
      iterator.next(step)
    }
    iterator.next(step)
  })
  await ended(iterator)
  return found
}
