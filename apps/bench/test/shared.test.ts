import { openMemory, type Db, type Tree } from 'holt'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { fillValue, generationOf, VALUE_BYTES, WrongAnswer } from '../src/shared/own-value.js'
import { READ_NAMES, type ReaderTurn, TREE_NAME } from '../src/shared/reader-messages.js'
import { ReaderThread } from '../src/shared/reader-thread.js'
import { objectStoreKeys } from '../src/workloads/object-store.js'

/** Threads cannot load TypeScript, so this is what was built. */
const PROGRAM = new URL('../dist/shared-reader.js', import.meta.url)

function valueOf(index: number, generation: number): Uint8Array {
  const value = new Uint8Array(VALUE_BYTES)
  fillValue(value, index, generation)
  return value
}

describe('a value that says whose it is', () => {
  test('tells its generation', () => {
    for (const [index, generation] of [
      [0, 0],
      [7, 1],
      [499_999, 3_000_000_000],
    ] as const)
      expect(generationOf(valueOf(index, generation), index)).toBe(generation)
  })

  test('is wrong when it is absent, too short, another key’s, or made of two', () => {
    expect(() => generationOf(undefined, 1)).toThrow(WrongAnswer)
    expect(() => generationOf(valueOf(1, 1).subarray(1), 1)).toThrow('59 bytes')
    expect(() => generationOf(valueOf(2, 1), 1)).toThrow('of key 2')
    const older = valueOf(1, 1)
    for (let cut = 8; cut < VALUE_BYTES; cut++) {
      const torn = valueOf(1, 2)
      torn.set(older.subarray(cut), cut)
      expect(() => generationOf(torn, 1)).toThrow('torn')
    }
    const torn = valueOf(1, 2)
    torn.set(older.subarray(0, 8))
    expect(() => generationOf(torn, 1)).toThrow('torn')
  })
})

describe('a reading thread', () => {
  const keyCount = 400
  const { keys } = objectStoreKeys(keyCount, 0)
  let db: Db
  let tree: Tree<string, Uint8Array>
  let thread: ReaderThread

  beforeEach(async () => {
    db = await openMemory()
    tree = await db.tree(TREE_NAME)
    for (const [index, key] of keys.entries()) await tree.put(key, valueOf(index, 5))
    thread = await ReaderThread.start({ shared: db.share(), keyCount, seed: 1 }, PROGRAM)
  })
  afterEach(async () => {
    await thread.end()
    await db.close()
  })

  const turnOf = (read: (typeof READ_NAMES)[number]): Promise<ReaderTurn> =>
    thread.turn({ read, lengthMs: 30 })

  test('counts its reads', async () => {
    for (const read of READ_NAMES) {
      const { reads, wallMs, waitedMs } = await turnOf(read)
      expect(reads).toBeGreaterThan(0)
      expect(wallMs).toBeGreaterThanOrEqual(30)
      expect(waitedMs).toBeLessThanOrEqual(wallMs)
    }
  })

  test.each(['get', 'list 100 with values'] as const)(
    '%s: fails when a key has a value of another one',
    async (read) => {
      for (const key of keys) await tree.put(key, valueOf(keyCount, 6))
      await expect(turnOf(read)).rejects.toThrow('has the value of key 400')
    },
  )

  test('fails when a value is older than one it has seen', async () => {
    await turnOf('get')
    for (const [index, key] of keys.entries()) await tree.put(key, valueOf(index, 4))
    await expect(turnOf('get')).rejects.toThrow('from generation 5 to 4')
  })

  test('fails when a directory has something that was never put there', async () => {
    await tree.put(`${keys[0].slice(0, 'team-0000/'.length)}zzz`, valueOf(0, 5))
    await expect(turnOf('list a directory')).rejects.toThrow('directly below')
  })
})
