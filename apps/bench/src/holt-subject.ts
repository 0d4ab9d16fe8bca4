import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { open } from 'holt'

import { LIST_ENTRIES, type Subject } from './subject.js'

/** Puts under way before they are awaited. */
const WINDOW_PUTS = 1000

/** holt in `'os'` mode in a temporary directory. */
export async function openHolt(): Promise<Subject> {
  const directory = mkdtempSync(join(tmpdir(), 'holt-bench-'))
  const db = await open(directory, { durability: 'os' })
  const tree = await db.tree('objects')
  return {
    name: `holt ('os', ${db.stats().io.kind})`,
    async putAll(keys, value) {
      for (let start = 0; start < keys.length; start += WINDOW_PUTS) {
        const puts = keys.slice(start, start + WINDOW_PUTS).map((key) => tree.put(key, value))
        await Promise.all(puts)
      }
    },
    getAll(keys) {
      let foundCount = 0
      for (const key of keys) if (tree.get(key) !== undefined) foundCount++
      return foundCount
    },
    listFromAll(keys) {
      let entryCount = 0
      for (const key of keys) for (const _entry of tree.scan({ gte: key, limit: LIST_ENTRIES })) entryCount++
      return entryCount
    },
    async close() {
      await db.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
