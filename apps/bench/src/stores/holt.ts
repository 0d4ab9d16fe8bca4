import { open } from 'holt'

import type { Store, StoreOptions } from './store.js'

const REUSED_BYTES = 4_096

/** holt: one tree with text keys and `Uint8Array` values. */
export async function openHolt({ directory, durability, cacheBytes }: StoreOptions): Promise<Store> {
  const db = await open(directory, { durability, cacheBytes })
  const tree = await db.tree('objects')
  // No value that is measured is longer.
  const reused = { bytes: new Uint8Array(REUSED_BYTES), lengthBytes: 0 }
  return {
    getsAreAsync: false,
    listsAreAsync: false,
    writesAreAsync: true,
    keepsOrder: true,
    get: (key) => tree.get(key),
    getReused(key) {
      const lengthBytes = tree.getInto(key, reused.bytes)
      if (lengthBytes === undefined) return undefined
      reused.lengthBytes = lengthBytes
      return reused
    },
    put: (key, value) => tree.put(key, value),
    async putBatch(entries) {
      await db.atomic((tx) => {
        const batch = tx.in(tree)
        for (const [key, value] of entries) batch.put(key, value)
      })
    },
    async putTogether(entries) {
      // Puts that are acknowledged together share a promise: every one of them is waited for, none twice.
      const promises: Promise<void>[] = []
      let newest: Promise<void> | undefined
      for (const [key, value] of entries) {
        const put = tree.put(key, value)
        if (put === newest) continue
        newest = put
        promises.push(put)
      }
      await Promise.all(promises)
    },
    async remove(key) {
      await tree.delete(key)
    },
    async rename(from, to) {
      await tree.rename(from, to)
    },
    list: (from, limit) => tree.scan({ gte: from, limit }).toArray(),
    visit: (from, limit, visitor) =>
      tree.visitRange({ gte: from, limit }, (entry) => {
        visitor(entry.valueMemory, entry.valueOffset, entry.valueLength)
      }),
    listKeys: (from, limit) => tree.keys({ gte: from, limit }).toArray(),
    listDirectory: (prefix) => tree.keys({ prefix, delimiter: '/' }).toArray(),
    settle: () => db.checkpoint(),
    async compact() {
      await db.compact()
      await db.vacuum()
    },
    close: () => db.close(),
  }
}
