import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, open } from '../src/index.js'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-backup-'))
})
afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
})

const FRAME_BYTES = 524_288

async function contents(db: Db): Promise<Map<string, string>> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return new Map([...tree.scan()].map(({ key, value }) => [key, value]))
}

describe.each(['auto', 'fs'] as const)('on a real disk, frames written by a thread, io %s', (io) => {
  const options = { io, usableFrameBytes: 16_384, segmentBytes: 262_144 }

  it('copies the database while it is written, and the copy is one state of it', async () => {
    const db = await open(join(directory, 'db'), options)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < 5_000; i++)
      await tree.put(`dir-${String(i % 50)}/${String(i)}`, `0 ${String(i)} `.padEnd(150, '.'))
    let round = 0
    let isCopying = true
    const progress: number[] = []
    const backup = db
      .backup(join(directory, 'copies', 'first'), {
        onProgress: ({ bytes, bytesTotal }) => progress.push(bytes / bytesTotal),
      })
      .finally(() => {
        isCopying = false
      })
    const checkpoints: Promise<void>[] = []
    while (isCopying) {
      round++
      await db.atomic((tx) => {
        tx.in(tree).put('round', String(round))
        for (let i = 0; i < 50; i++)
          tx.in(tree).put(`dir-${String(i)}/${String(i)}`, `${String(round)} ${String(i)}`)
      })
      if (round % 5 === 0) checkpoints.push(db.checkpoint())
      await new Promise((resume) => setTimeout(resume, 1))
    }
    const report = await backup
    await Promise.all(checkpoints)
    expect(progress.at(-1)).toBe(1)
    expect(progress.length).toBeGreaterThan(2)
    await db.close()

    const path = join(directory, 'copies', 'first')
    expect((await readdir(path)).sort()).toEqual(['blobs.dat', 'manifest'])
    expect((await stat(join(path, 'blobs.dat'))).size).toBe(report.frames * FRAME_BYTES)
    // Where files may have holes, what frames do not use takes no room.
    expect((await stat(join(path, 'blobs.dat'))).blocks * 512).toBeLessThan(report.bytes * 1.2 + 100_000)
    const copy = await open(path, { ...options, createIfMissing: false })
    const found = await contents(copy)
    const at = found.get('round') ?? '0'
    expect(found.size).toBe(at === '0' ? 5_000 : 5_001)
    for (let i = 0; i < 50; i++)
      expect(
        found
          .get(`dir-${String(i)}/${String(i)}`)
          ?.trim()
          .split(/[ .]/)
          .slice(0, 2),
      ).toEqual([at, String(i)])
    expect((await copy.verify()).problems).toEqual([])
    const own = await copy.tree('t', { valueEncoding: 'utf8' })
    await own.put('goes on', 'x')
    expect(own.getRecord('goes on')?.version).toBeGreaterThan(report.version)
    await copy.close()
  })

  it('leaves nothing of a copy that was ended, and takes another one then', async () => {
    const db = await open(join(directory, 'db'), options)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < 5_000; i++) await tree.put(`key-${String(i)}`, 'v'.repeat(150))
    const path = join(directory, 'copy')
    const controller = new AbortController()
    const backup = db.backup(path, {
      signal: controller.signal,
      onProgress: () => {
        controller.abort()
      },
    })
    await expect(backup).rejects.toMatchObject({ name: 'AbortError' })
    expect(await readdir(path)).toEqual([])
    await db.backup(path)
    await expect(db.backup(path)).rejects.toMatchObject({ code: 'HOLT_EXISTS' })
    const reader = await open(path, { ...options, readOnly: true })
    expect((await contents(reader)).size).toBe(5_000)
    await expect(reader.backup(join(directory, 'third'))).rejects.toMatchObject({ code: 'HOLT_READ_ONLY' })
    await reader.close()
    // One that a close ends.
    let closing: Promise<void> | undefined
    const ended = db.backup(join(directory, 'other'), {
      onProgress: () => {
        closing ??= db.close()
      },
    })
    await expect(ended).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    await closing
    expect(await readdir(join(directory, 'other'))).toEqual([])
  })

  it('refuses a directory that holds something, and one that is a file', async () => {
    const db = await open(join(directory, 'db'), options)
    await db.tree('t')
    await mkdir(join(directory, 'full'))
    await writeFile(join(directory, 'full', 'letter'), 'dear')
    await expect(db.backup(join(directory, 'full'))).rejects.toMatchObject({ code: 'HOLT_EXISTS' })
    await expect(db.backup(join(directory, 'full', 'letter'))).rejects.toMatchObject({ code: 'HOLT_IO' })
    expect(await readdir(join(directory, 'full'))).toEqual(['letter'])
    await db.close()
  })
})
