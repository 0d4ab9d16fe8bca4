import { openClassicLevel } from './classic-level.js'
import { openHolt } from './holt.js'
import { openJsMap } from './js-map.js'
import { openLmdb } from './lmdb.js'
import { whyRivalMissing } from './rival-module.js'
import { openRocksdb } from './rocksdb.js'
import { openSqlite } from './sqlite.js'
import type { OpenStore } from './store.js'

export interface StoreKind {
  readonly name: string
  readonly open: OpenStore
  /** The package that has to be installed for it. */
  readonly rivalPackage?: string
  /** Its contents are there again after a close. */
  readonly isPersistent: boolean
}

export const HOLT = 'holt'
export const FLOOR = 'JS Map'

/** Everybody who is measured, in the order of the table's columns. */
export const STORE_KINDS: readonly StoreKind[] = [
  { name: HOLT, open: openHolt, isPersistent: true },
  { name: 'lmdb', open: openLmdb, rivalPackage: 'lmdb', isPersistent: true },
  { name: 'sqlite', open: openSqlite, rivalPackage: 'better-sqlite3', isPersistent: true },
  { name: 'classic-level', open: openClassicLevel, rivalPackage: 'classic-level', isPersistent: true },
  { name: 'rocksdb', open: openRocksdb, rivalPackage: 'rocksdb', isPersistent: true },
  { name: FLOOR, open: openJsMap, isPersistent: false },
]

export function storeKind(name: string): StoreKind {
  const kind = STORE_KINDS.find((candidate) => candidate.name === name)
  if (kind === undefined) throw new Error(`no engine is called ${name}`)
  return kind
}

/** Why a store cannot take part here; `undefined` if it can. */
export function whyMissing(kind: StoreKind): string | undefined {
  return kind.rivalPackage === undefined ? undefined : whyRivalMissing(kind.rivalPackage)
}
