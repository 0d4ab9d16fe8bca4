import { type Db, open, type Tree, type Version } from 'holt'
import { expect, test } from 'vitest'

import { SeededRandom, SimDisk, type SimIo } from '../../src/index.js'

function openAt(io: SimIo): Promise<Db> {
  return open('/home/db', {
    io,
    usableFrameBytes: 16_384,
    cacheBytes: 16 * 2 ** 19,
    segmentBytes: 65_536,
    checkpoint: { thread: false, intervalMs: 20 },
  })
}

const treeOf = (db: Db): Promise<Tree<string, string>> => db.tree('t', { valueEncoding: 'utf8' })

async function shown(db: Db): Promise<readonly (readonly [string, string, number])[]> {
  const entries = (await treeOf(db)).scan().toArray()
  return entries.map(({ key, value, version }) => [key, value, version] as const)
}

test('G3: a version that was seen before a checkpoint and a reopening fits no later write', async () => {
  for (const isKilled of [false, true]) {
    const disk = new SimDisk({ seed: 1 })
    let db = await openAt(disk.start())
    let tree = await treeOf(db)
    const seen: Version[] = []
    for (let life = 0; life < 4; life++) {
      await tree.put('key', `value ${String(life)}`)
      const { version } = tree.getRecord('key') ?? expect.unreachable('the key is there')
      for (const stale of seen) expect(await tree.compareAndPut('key', 'stale', stale)).toBeUndefined()
      expect(seen).not.toContain(version)
      seen.push(version)
      await db.checkpoint()
      if (isKilled) disk.kill()
      else await db.close()
      db = await openAt(disk.start())
      tree = await treeOf(db)
      // The same write has its version still, and no older one.
      expect(tree.getRecord('key')).toMatchObject({ value: `value ${String(life)}`, version })
    }
    await db.close()
  }
})

test('G4: what puts and conditional writes leave that race each other is what replay makes of them', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = new SeededRandom(seed)
    const disk = new SimDisk({ seed })
    const db = await openAt(disk.start({ reorder: true, autoAdvance: true }))
    const tree = await treeOf(db)
    // More than the cache holds, so that many of the writes below have to wait for frames.
    for (let i = 0; i < 900; i++) await tree.put(`key-${String(i)}`, 'x'.repeat(400))
    await db.checkpoint()
    const outcomes: Promise<unknown>[] = []
    for (let i = 0; i < 400; i++) {
      const key = `key-${String(random.below(60) * 15)}`
      const other = `key-${String(random.below(60) * 15)}`
      const value = `${String(i)} `.repeat(100)
      const kind = random.below(6)
      if (kind < 2) outcomes.push(tree.put(key, value))
      else if (kind === 2) outcomes.push(tree.putIfAbsent(key, value))
      else if (kind === 3) outcomes.push(tree.delete(key))
      else if (kind === 4)
        outcomes.push(tree.rename(key, other, { force: random.chance(0.5) }).catch(() => false))
      else outcomes.push(tree.compareAndPut(key, value, tree.getRecord(key)?.version ?? (1 as Version)))
      if (random.chance(0.1)) void db.checkpoint()
      if (random.chance(0.1)) await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(outcomes)
    const live = await shown(db)
    const replayed = await openAt(disk.killImage(seed).start())
    expect(await shown(replayed), `seed ${String(seed)}`).toEqual(live)
    await replayed.close()
    await db.close()
  }
})
