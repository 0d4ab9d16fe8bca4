import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, describe, expect, test } from 'vitest'

import { DURABLE_OPERATIONS, OPERATIONS } from '../src/operations/catalog.js'
import { Digest } from '../src/operations/digest.js'
import type { Operation } from '../src/operations/operation.js'
import { Session } from '../src/operations/session.js'
import { openJsMap } from '../src/stores/js-map.js'
import { FLOOR, STORE_KINDS, whyMissing } from '../src/stores/catalog.js'
import type { Durability, Store } from '../src/stores/store.js'
import { makeWorkload } from '../src/workloads/workload.js'

/** Even, so that what is renamed gets its name back; few where each waits for a device. */
const OPERATIONS_DONE: Readonly<Record<Durability, number>> = { os: 200, disk: 10 }
/** What the two kinds of durability are asked. */
const ASKED: Readonly<Record<Durability, readonly Operation[]>> = {
  os: OPERATIONS,
  disk: DURABLE_OPERATIONS,
}

const workload = makeWorkload({ name: 'objstore', keyCount: 1_500, root: '' })
const directories: string[] = []

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'holt-bench-test-'))
  directories.push(directory)
  return directory
}

/** The answers of a store to everything it can be asked, by operation. */
async function answersOf(store: Store, durability: Durability = 'os'): Promise<Record<string, string>> {
  const session = new Session(store, workload)
  await session.load()
  const answers: Record<string, string> = {}
  for (const operation of ASKED[durability]) {
    if (operation.whyNot?.(session) !== undefined) continue
    const digest = new Digest()
    session.rewind()
    await operation.run(session, OPERATIONS_DONE[durability], digest)
    answers[operation.name] = digest.end()
  }
  await store.close()
  return answers
}

/** A Map answers all but what it is no measure for: reused memory, a visitor, and listings amid writes. */
const expected = { os: await answersOf(openJsMap()), disk: await answersOf(openJsMap(), 'disk') }

describe.each(STORE_KINDS.filter(({ name }) => name !== FLOOR))('$name', (kind) => {
  const reason = whyMissing(kind)
  const title = (text: string): string => (reason === undefined ? text : `${text} (left out: ${reason})`)
  const cacheBytes = 32 * 2 ** 20

  test.skipIf(reason !== undefined).each<Durability>(['os', 'disk'])(
    title("gives the same answers as a Map, durability '%s'"),
    async (durability) => {
      const store = await kind.open({ directory: newDirectory(), durability, cacheBytes })
      expect(await answersOf(store, durability)).toMatchObject(expected[durability])
    },
  )

  test.skipIf(reason !== undefined)(
    title('has every key after it was compacted, closed and opened again'),
    async () => {
      const directory = newDirectory()
      const first = await kind.open({ directory, durability: 'os', cacheBytes })
      await new Session(first, workload).load()
      await first.settle?.()
      await first.compact?.()
      await first.close()
      const second = await kind.open({ directory, durability: 'os', cacheBytes })
      for (const key of workload.keys) expect(await second.get(key), key).toHaveLength(60)
      await second.close()
    },
  )

  test.skipIf(reason !== undefined)(title('returns values that later calls do not change'), async () => {
    const store = await kind.open({ directory: newDirectory(), durability: 'os', cacheBytes })
    await store.put('a', Buffer.alloc(60, 1))
    await store.put('b', Buffer.alloc(60, 2))
    const value = await store.get('a')
    const [listed] = await store.list('a', 2)
    await store.get('b')
    await store.list('b', 2)
    await store.put('a', Buffer.alloc(60, 3))
    expect(Buffer.from(value ?? [])).toEqual(Buffer.alloc(60, 1))
    expect(Buffer.from(listed.value)).toEqual(Buffer.alloc(60, 1))
    await store.close()
  })
})

test('the mix of all engines that keep order is the same', async () => {
  const answers: (readonly [string, string])[] = []
  for (const kind of STORE_KINDS) {
    if (whyMissing(kind) !== undefined) continue
    const store = await kind.open({ directory: newDirectory(), durability: 'os', cacheBytes: 32 * 2 ** 20 })
    const { mix } = await answersOf(store)
    if (kind.name !== FLOOR) answers.push([kind.name, mix])
  }
  expect(answers.map(([, mix]) => mix)).toEqual(answers.map(() => answers[0][1]))
})

test('an engine that answers wrongly is told from the others', async () => {
  const store = openJsMap()
  const forgetful: Store = {
    ...store,
    listKeys: (from, limit) => [...(store.listKeys(from, limit - 1) as string[])],
  }
  expect(await answersOf(forgetful)).not.toMatchObject(expected.os)
})
