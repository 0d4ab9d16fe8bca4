import assert from 'node:assert/strict'

import { contents, pattern, rejects, sameBytes } from './suite.js'
import type { Suite } from './suite.js'

/** Names and directories. */
export function nameTests({ test }: Suite): void {
  test('rename gives a file another name', async ({ io, file, path, directory }) => {
    const opened = await file('from', pattern(100))
    await io.rename(path('from'), path('to'))
    assert.deepEqual(await io.list(directory), ['to'])
    await io.write(opened, 100, pattern(10))
    const moved = await io.open(path('to'), { access: 'read' })
    assert.equal((await io.stat(moved)).sizeBytes, 110)
  })

  test('rename replaces a file that is there, which who has it open keeps', async ({
    io,
    file,
    path,
    directory,
  }) => {
    await io.close(await file('from', pattern(100, 1)))
    const replaced = await file('to', pattern(50, 2))
    await io.rename(path('from'), path('to'))
    assert.deepEqual(await io.list(directory), ['to'])
    sameBytes(await contents(io, await io.open(path('to'), { access: 'read' })), pattern(100, 1))
    sameBytes(await contents(io, replaced), pattern(50, 2))
  })

  test('readWholeSync reads the file that has the name now', async ({ io, file, path, directory }) => {
    await file('name', pattern(5000, 1))
    sameBytes(io.readWholeSync(path('name')), pattern(5000, 1))
    const other = await file('other', pattern(70, 2))
    await io.rename(path('other'), path('name'))
    sameBytes(io.readWholeSync(path('name')), pattern(70, 2))
    await io.write(other, 70, pattern(10, 3))
    assert.equal(io.readWholeSync(path('name')).length, 80)
    sameBytes(io.readWholeSync(path('name')).subarray(70), pattern(10, 3))
    await file('empty')
    assert.equal(io.readWholeSync(path('empty')).length, 0)
    await rejects(async () => Promise.resolve(io.readWholeSync(path('absent'))), 'HOLT_NOT_FOUND')
    await rejects(async () => Promise.resolve(io.readWholeSync(directory)), 'HOLT_IO')
  })

  test('rename of an absent file is HOLT_NOT_FOUND and leaves the other', async ({ io, file, path }) => {
    const kept = await file('to', pattern(50))
    await rejects(() => io.rename(path('absent'), path('to')), 'HOLT_NOT_FOUND')
    sameBytes(await contents(io, kept), pattern(50))
    await rejects(() => io.rename(path('to'), path('no/to')), 'HOLT_NOT_FOUND')
    sameBytes(await contents(io, await io.open(path('to'), { access: 'read' })), pattern(50))
  })

  test('link gives a file a second name; the first can go', async ({ io, file, path, directory }) => {
    const opened = await file('one', pattern(100))
    await io.link(path('one'), path('two'))
    assert.deepEqual((await io.list(directory)).sort(), ['one', 'two'])
    await io.write(opened, 0, pattern(100, 2))
    await io.remove(path('one'))
    sameBytes(await contents(io, await io.open(path('two'), { access: 'read' })), pattern(100, 2))
  })

  test('link to a name that is there is HOLT_EXISTS and leaves it', async ({ io, file, path }) => {
    await file('one', pattern(100, 1))
    const there = await file('two', pattern(100, 2))
    await rejects(() => io.link(path('one'), path('two')), 'HOLT_EXISTS')
    await rejects(() => io.link(path('one'), path('one')), 'HOLT_EXISTS')
    sameBytes(await contents(io, there), pattern(100, 2))
    await rejects(() => io.link(path('absent'), path('three')), 'HOLT_NOT_FOUND')
  })

  test('of many links to one name at once exactly one succeeds', async ({ io, file, path, directory }) => {
    const sources = Array.from({ length: 10 }, (_, i) => `source-${String(i)}`)
    for (const name of sources) await io.close(await file(name))
    const outcomes = await Promise.allSettled(sources.map((name) => io.link(path(name), path('lock'))))
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
    assert.equal((await io.list(directory)).length, 11)
  })

  test('remove takes the name; who has the file open keeps it', async ({ io, file, path, directory }) => {
    const opened = await file('gone', pattern(100))
    await io.remove(path('gone'))
    assert.deepEqual(await io.list(directory), [])
    sameBytes(await contents(io, opened), pattern(100))
    await rejects(() => io.open(path('gone'), { access: 'read' }), 'HOLT_NOT_FOUND')
  })

  test('remove of an absent file is HOLT_NOT_FOUND', async ({ io, path }) => {
    await rejects(() => io.remove(path('absent')), 'HOLT_NOT_FOUND')
    await rejects(() => io.remove(path('no/file')), 'HOLT_NOT_FOUND')
  })

  test('list gives the names of files and directories, none of them . or ..', async ({
    io,
    file,
    path,
    directory,
  }) => {
    const names = ['.hidden', 'a b', 'new\nline', '-dash', 'été', '\u{1f4a1}', 'x'.repeat(200)]
    for (const name of names) await io.close(await file(name))
    await io.mkdir(path('inner'))
    await io.close(await file('inner/deep'))
    assert.deepEqual((await io.list(directory)).sort(), [...names, 'inner'].sort())
    assert.deepEqual(await io.list(path('inner')), ['deep'])
  })

  test('list gives a thousand names', async ({ io, file, directory }) => {
    const names = Array.from({ length: 1000 }, (_, i) => String(i))
    for (const name of names) await io.close(await file(name))
    assert.deepEqual((await io.list(directory)).sort(), names.sort())
  })

  test('list of an absent directory is HOLT_NOT_FOUND, of a file HOLT_IO', async ({ io, file, path }) => {
    await rejects(() => io.list(path('absent')), 'HOLT_NOT_FOUND')
    await file('file')
    await rejects(() => io.list(path('file')), 'HOLT_IO')
  })

  test('mkdir makes a directory with all above it, and again without an error', async ({
    io,
    file,
    path,
  }) => {
    await io.mkdir(path('a/b/c'))
    await io.mkdir(path('a/b/c'))
    await io.mkdir(path('a'))
    await io.close(await file('a/b/c/file', pattern(10)))
    assert.deepEqual(await io.list(path('a/b/c')), ['file'])
    assert.deepEqual(await io.list(path('a')), ['b'])
  })

  test('mkdir over or below a file is an error and leaves the file', async ({ io, file, path }) => {
    const there = await file('file', pattern(10))
    await rejects(() => io.mkdir(path('file')), ['HOLT_EXISTS', 'HOLT_IO'])
    await rejects(() => io.mkdir(path('file/below')), ['HOLT_EXISTS', 'HOLT_IO'])
    sameBytes(await contents(io, there), pattern(10))
  })

  test('syncDir syncs a directory; of an absent one it is HOLT_NOT_FOUND', async ({
    io,
    file,
    path,
    directory,
  }) => {
    await file('file')
    await io.syncDir(directory)
    await rejects(() => io.syncDir(path('absent')), 'HOLT_NOT_FOUND')
  })

  test('what the system refuses says errno, system call and path', async ({ io, path }) => {
    const error = await rejects(() => io.open(path('absent'), { access: 'read' }), 'HOLT_NOT_FOUND')
    assert.ok(error instanceof Error && 'errno' in error && 'syscall' in error && 'path' in error)
    assert.equal(error.errno, 'ENOENT')
    assert.equal(error.path, path('absent'))
    assert.ok(typeof error.syscall === 'string' && error.syscall !== '')
  })
}
