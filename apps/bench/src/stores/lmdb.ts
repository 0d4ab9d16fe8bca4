import { renameSync } from 'node:fs'
import { join } from 'node:path'

import { listBySeeks } from './list-directory.js'
import { requireRival } from './rival-module.js'
import type { Store, StoreEntry, StoreOptions } from './store.js'

/** As much of lmdb 3 as is used here. */
interface LmdbDatabase {
  getBinary(key: string): Buffer | undefined
  /** Into memory that the next read uses again; its length is `lastSize`, not its own. */
  getBinaryFast(key: string): Buffer | undefined
  readonly lastSize: number
  put(key: string, value: Buffer): Promise<boolean>
  putSync(key: string, value: Buffer): boolean
  removeSync(key: string): boolean
  transactionSync<T>(action: () => T): T
  getRange(range: LmdbRange): Iterable<StoreEntry>
  getKeys(range: LmdbRange): Iterable<string>
  backup(path: string, compact: boolean): Promise<void>
  close(): Promise<void>
}

interface LmdbRange {
  readonly start: string
  readonly limit: number
}

/**
 * lmdb, by the calls that cost least: writes in transactions of this thread (`put` hands them to another one, which
 * pays only where a sync is waited for), text keys in its own encoding, values as bytes.
 */
export function openLmdb({ directory, durability }: StoreOptions): Store {
  const { open } = requireRival('lmdb') as { open: (options: object) => LmdbDatabase }
  const path = join(directory, 'data.mdb')
  const db = open({
    path,
    encoding: 'binary',
    noSync: durability === 'os',
    // By default a commit is acknowledged before its sync has ended.
    overlappingSync: false,
  })
  let compacted: string | undefined
  return {
    getsAreAsync: false,
    listsAreAsync: false,
    writesAreAsync: false,
    keepsOrder: true,
    get: (key) => db.getBinary(key),
    getReused(key) {
      const bytes = db.getBinaryFast(key)
      return bytes === undefined ? undefined : { bytes, lengthBytes: db.lastSize }
    },
    put(key, value) {
      db.putSync(key, value)
    },
    putBatch(entries) {
      db.transactionSync(() => {
        for (const [key, value] of entries) db.putSync(key, value)
      })
    },
    async putTogether(entries) {
      await Promise.all(entries.map(([key, value]) => db.put(key, value)))
    },
    remove(key) {
      db.removeSync(key)
    },
    rename(from, to) {
      db.transactionSync(() => {
        const value = db.getBinary(from)
        if (value === undefined) throw new Error(`there is no ${from}`)
        db.putSync(to, value)
        db.removeSync(from)
      })
    },
    list(from, limit) {
      const entries: StoreEntry[] = []
      for (const entry of db.getRange({ start: from, limit })) entries.push(entry)
      return entries
    },
    listKeys(from, limit) {
      const keys: string[] = []
      for (const key of db.getKeys({ start: from, limit })) keys.push(key)
      return keys
    },
    listDirectory: (prefix) =>
      listBySeeks(prefix, (from) => {
        for (const key of db.getKeys({ start: from, limit: 1 })) return key
        return undefined
      }),
    async compact() {
      compacted = join(directory, 'compacted.mdb')
      await db.backup(compacted, true)
    },
    async close() {
      await db.close()
      if (compacted === undefined) return
      renameSync(compacted, path)
    },
  }
}
