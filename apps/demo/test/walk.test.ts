import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { FileList } from '../src/file-list.js'
import { unpackStat } from '../src/stat-record.js'
import { walk } from '../src/walk.js'

let root = ''

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'holt-walk-'))
})

afterEach(() => {
  chmodSync(root, 0o755)
  rmSync(root, { recursive: true, force: true })
})

/** The paths found, relative to the root, sorted. */
function found(files: FileList): readonly string[] {
  const prefix = `${root.slice(1)}/`
  return Array.from({ length: files.count }, (_, index) => {
    const path = files.path(index).toString()
    expect(path.startsWith(prefix)).toBe(true)
    return path.slice(prefix.length)
  }).sort()
}

describe('the walk', () => {
  test('finds the files of all directories, with their sizes and without a leading slash', async () => {
    mkdirSync(join(root, 'a/b'), { recursive: true })
    writeFileSync(join(root, 'a/b/deep'), 'four')
    writeFileSync(join(root, 'top'), '')
    const { files, directoryCount, unreadableCount } = await walk(root)
    expect(found(files)).toEqual(['a/b/deep', 'top'])
    expect([directoryCount, unreadableCount]).toEqual([3, 0])
    const deep = [0, 1].find((index) => files.path(index).toString().endsWith('deep')) ?? -1
    expect(unpackStat(files.record(deep)).sizeBytes).toBe(4)
  })

  test('takes a symbolic link for what it is, also one to a directory above', async () => {
    mkdirSync(join(root, 'd'))
    symlinkSync('..', join(root, 'd/up'))
    symlinkSync('nowhere', join(root, 'dangling'))
    const { files } = await walk(root)
    expect(found(files)).toEqual(['d/up', 'dangling'])
    expect(unpackStat(files.record(0)).mode & 0o170000).toBe(0o120000)
  })

  test('keeps the bytes of a name that is not UTF-8', async () => {
    const name = Buffer.from([0x61, 0xff, 0xfe])
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), name]), '')
    const { files } = await walk(root)
    expect(files.path(0).subarray(-3)).toEqual(name)
  })

  test.runIf(process.getuid?.() !== 0)('counts a directory it may not read and goes on', async () => {
    mkdirSync(join(root, 'closed'))
    writeFileSync(join(root, 'open'), '')
    chmodSync(join(root, 'closed'), 0)
    const { files, unreadableCount } = await walk(root)
    chmodSync(join(root, 'closed'), 0o755)
    expect(found(files)).toEqual(['open'])
    expect(unreadableCount).toBe(1)
  })

  test('refuses a root that is absent or a file', async () => {
    writeFileSync(join(root, 'file'), '')
    await expect(walk(join(root, 'absent'))).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(walk(join(root, 'file'))).rejects.toThrow('not a directory')
  })
})

describe('a file list', () => {
  test('comes out of its bytes as it went in, over more than one chunk', async () => {
    writeFileSync(join(root, 'one'), 'x')
    const { files } = await walk(root)
    const list = new FileList()
    const stat = { mode: 1, uid: 2, gid: 3, nlink: 4, size: 5, mtimeMs: 6, ino: 7 }
    const fileCount = 9000
    for (let index = 0; index < fileCount; index++) {
      list.add(Buffer.from(`p/${String(index)}`), { ...stat, size: index })
    }
    const copy = FileList.deserialize(list.serialize())
    expect(copy.count).toBe(fileCount)
    for (const index of [0, 8191, 8192, fileCount - 1]) {
      expect(copy.path(index).toString()).toBe(`p/${String(index)}`)
      expect(unpackStat(copy.record(index)).sizeBytes).toBe(index)
    }
    expect(FileList.deserialize(files.serialize()).path(0)).toEqual(files.path(0))
  })
})
