import { join } from 'node:path'

import { listBySeeks } from './list-directory.js'
import { requireRival } from './rival-module.js'
import type { Store, StoreEntry, StoreOptions } from './store.js'

/** As much of better-sqlite3 as is used here. */
interface SqliteStatement {
  get(...parameters: readonly unknown[]): unknown
  all(...parameters: readonly unknown[]): readonly unknown[]
  run(...parameters: readonly unknown[]): { readonly changes: number }
  pluck(): SqliteStatement
}
interface SqliteDatabase {
  prepare(sql: string): SqliteStatement
  pragma(text: string): unknown
  exec(sql: string): void
  transaction<A extends readonly unknown[]>(action: (...parameters: A) => void): (...parameters: A) => void
  close(): void
}
type SqliteClass = new (path: string) => SqliteDatabase

/**
 * better-sqlite3: prepared statements, a write-ahead log, one table without row ids (with them every read takes a
 * second descent). Its `synchronous` is OFF for `'os'` and FULL for `'disk'`.
 */
export function openSqlite({ directory, durability, cacheBytes }: StoreOptions): Store {
  const Sqlite = requireRival('better-sqlite3') as SqliteClass
  const db = new Sqlite(join(directory, 'data.sqlite'))
  db.pragma('journal_mode = WAL')
  db.pragma(`synchronous = ${durability === 'os' ? 'OFF' : 'FULL'}`)
  db.pragma(`cache_size = -${String(Math.floor(cacheBytes / 1024))}`)
  db.pragma(`mmap_size = ${String(cacheBytes)}`)
  db.exec('CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID')
  const get = db.prepare('SELECT value FROM entries WHERE key = ?').pluck()
  const put = db.prepare('INSERT OR REPLACE INTO entries (key, value) VALUES (?, ?)')
  const remove = db.prepare('DELETE FROM entries WHERE key = ?')
  const rename = db.prepare('UPDATE entries SET key = ? WHERE key = ?')
  const list = db.prepare('SELECT key, value FROM entries WHERE key >= ? ORDER BY key LIMIT ?')
  const listKeys = db.prepare('SELECT key FROM entries WHERE key >= ? ORDER BY key LIMIT ?').pluck()
  const seek = db.prepare('SELECT key FROM entries WHERE key >= ? ORDER BY key LIMIT 1').pluck()
  const putAll = db.transaction((entries: readonly (readonly [string, Buffer])[]) => {
    for (const [key, value] of entries) put.run(key, value)
  })
  return {
    getsAreAsync: false,
    listsAreAsync: false,
    writesAreAsync: false,
    keepsOrder: true,
    get: (key) => get.get(key) as Buffer | undefined,
    put(key, value) {
      put.run(key, value)
    },
    putBatch: putAll,
    putTogether: putAll,
    remove(key) {
      remove.run(key)
    },
    rename(from, to) {
      if (rename.run(to, from).changes !== 1) throw new Error(`there is no ${from}`)
    },
    list: (from, limit) => list.all(from, limit) as readonly StoreEntry[],
    listKeys: (from, limit) => listKeys.all(from, limit) as readonly string[],
    listDirectory: (prefix) => listBySeeks(prefix, (from) => seek.get(from) as string | undefined),
    settle() {
      db.pragma('wal_checkpoint(PASSIVE)')
    },
    compact() {
      db.exec('VACUUM')
      db.pragma('wal_checkpoint(TRUNCATE)')
    },
    close() {
      db.close()
    },
  }
}
