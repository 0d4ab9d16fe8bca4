import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, open } from '../src/index.js'

/*
 * A Buffer is a Uint8Array whose `slice` copies nothing. What a caller passes is a caller's: it is not changed, and what
 * the caller does with it later changes nothing here.
 */
describe('bytes that a caller passes', () => {
  let directory: string
  let db: Db

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'holt-callers-'))
    db = await open(join(directory, 'store'))
  })
  afterEach(async () => {
    await db.close()
    rmSync(directory, { recursive: true })
  })

  /** So that the next write has to wait until the files are ready. */
  const reopen = async (): Promise<void> => {
    await db.close()
    db = await open(join(directory, 'store'))
  }

  const bytesOf = (text: string): Buffer => Buffer.from(text)

  it('are not changed by walks, counts and deletions below a prefix', async () => {
    const tree = await db.tree('t', { keyEncoding: 'buffer', valueEncoding: 'utf8' })
    await db.atomic((tx) => {
      for (const key of ['a/1', 'a/2', 'b/1']) tx.in(tree).put(bytesOf(key), key)
    })
    const prefix = bytesOf('a/')
    expect([...tree.keys({ prefix })].map(String)).toEqual(['a/1', 'a/2'])
    expect(tree.list({ prefix, limit: 1 }).entries).toHaveLength(1)
    expect(await tree.deletePrefix(prefix)).toBe(true)
    expect(prefix.toString()).toBe('a/')
    expect([...tree.keys()].map(String)).toEqual(['b/1'])
  })

  it('may be used again once a put was called, also one that has to wait', async () => {
    await db.tree('t', { valueEncoding: 'buffer' })
    await reopen()
    const tree = await db.tree('t', { valueEncoding: 'buffer' })
    const value = bytesOf('first')
    const done = tree.put('a', value)
    value.write('OTHER')
    await done
    expect(String(tree.get('a'))).toBe('first')
  })

  it('may be used again once a batch was called', async () => {
    await db.tree('t', { keyEncoding: 'buffer', valueEncoding: 'buffer' })
    await reopen()
    const tree = await db.tree('t', { keyEncoding: 'buffer', valueEncoding: 'buffer' })
    const [key, value, prefix] = [bytesOf('key'), bytesOf('value'), bytesOf('k')]
    const done = db.atomic((tx) => {
      tx.in(tree).putIfAbsent(key, value).renamePrefix(prefix, bytesOf('x'))
    })
    for (const bytes of [key, value, prefix]) bytes.fill(0)
    expect((await done).committed).toBe(true)
    expect([...tree.scan()].map(({ key: found, value: held }) => `${String(found)} ${String(held)}`)).toEqual(
      ['xey value'],
    )
  })

  it('name the same prefix to each operation of a batch', async () => {
    const tree = await db.tree('t')
    await tree.put('ab', Buffer.from('1'))
    await tree.put('abc', Buffer.from('2'))
    const outcome = await db.atomic((tx) => {
      tx.in(tree).deletePrefix('x').delete('abc').deletePrefix('y').renamePrefix('ab', 'q')
    })
    expect(outcome.committed).toBe(true)
    expect([...tree.keys()]).toEqual(['q'])
  })
})
