/** One history under many options: how the disk is reached, how much memory there is and how safe a write is shows in no answer. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isHoltError } from '@holt/errors'
import { FsIo, openIo } from '@holt/uring-native'
import { type Db, type DbView, open, type OpenOptions, type Tree } from 'holt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { generateHistory, SimDisk } from '../../src/index.js'
import type { HistoryStep, TreeNumber, TreeWrite } from '../../src/history.js'

/** How many histories are played; the campaign plays more. */
const HISTORIES = Number(process.env['HOLT_OPTION_HISTORIES'] ?? 1)
const SEED = 101

type ByteTree = Tree<Uint8Array, Uint8Array>

interface Setting {
  readonly name: string
  readonly disk: 'sim' | 'fs' | 'uring'
  readonly options: Pick<
    OpenOptions,
    'durability' | 'cacheBytes' | 'checkpoint' | 'usableFrameBytes' | 'segmentBytes'
  >
}

const FEW_FRAMES = 16 * 2 ** 19
const MANY_FRAMES = 1_000 * 2 ** 19
const isRingThere = openIo({ prefer: 'auto' }).kind === 'uring'

const SETTINGS: readonly Setting[] = (
  ['sim', 'fs', ...(isRingThere ? (['uring'] as const) : [])] as const
).flatMap((disk) =>
  (['memory', 'os', 'disk'] as const).flatMap((durability) =>
    [FEW_FRAMES, MANY_FRAMES].flatMap((cacheBytes, small) =>
      // A simulated life has no thread.
      (disk === 'sim' ? [false] : [false, true]).map((thread) => ({
        name: `${disk}, '${durability}', ${small === 0 ? '16' : '1000'} frames, ${thread ? 'thread' : 'inline'}`,
        disk,
        options: {
          durability,
          cacheBytes,
          checkpoint: { thread },
          usableFrameBytes: small === 0 ? 12_288 : 20_480,
          segmentBytes: small === 0 ? 65_536 : 2 ** 20,
        },
      })),
    ),
  ),
)

const hex = (bytes: Uint8Array | undefined): string =>
  bytes === undefined ? '-' : Buffer.from(bytes).toString('hex')

/** Plays a history, closing where it would crash, and returns everything that was answered. */
class Player {
  readonly answers: string[] = []
  /** Versions differ by how many were kept free at an opening; their order does not. */
  readonly #versions: number[] = []
  readonly #openDb: () => Promise<Db>
  #db: Db | undefined
  #trees: readonly ByteTree[] = []
  readonly #views = new Map<number, DbView>()

  constructor(openDb: () => Promise<Db>) {
    this.#openDb = openDb
  }

  async play(steps: readonly HistoryStep[]): Promise<readonly string[]> {
    await this.#open()
    for (const step of steps) await this.#step(step)
    this.#readAll()
    await this.#reopen()
    this.#readAll()
    expect((await this.#database.verify()).problems).toEqual([])
    await this.#database.close()
    const sorted = [...new Set(this.#versions)].sort((a, b) => a - b)
    const rank = new Map(sorted.map((version, i) => [version, i]))
    return [...this.answers, this.#versions.map((version) => rank.get(version)).join()]
  }

  get #database(): Db {
    if (this.#db === undefined) throw new Error('no database is open')
    return this.#db
  }

  async #open(): Promise<void> {
    this.#db = await this.#openDb()
    const encodings = { keyEncoding: 'view', valueEncoding: 'view' } as const
    this.#trees = [await this.#db.tree('first', encodings), await this.#db.tree('second', encodings)]
  }

  async #reopen(): Promise<void> {
    this.#views.clear()
    // In 'memory' mode only what a checkpoint wrote is kept, and a close makes one.
    await this.#database.close()
    await this.#open()
  }

  #tree(number: TreeNumber): ByteTree {
    return this.#trees[number]
  }

  #answer(what: string): void {
    this.answers.push(what)
  }

  #version(version: number | undefined): void {
    this.#versions.push(version ?? 0)
  }

  async #step(step: HistoryStep): Promise<void> {
    const db = this.#database
    switch (step.kind) {
      case 'write':
        this.#answer(await outcomeOf(this.#write(step.write)))
        return
      case 'batch': {
        const done = db.atomic((tx) => {
          for (const { tree, operation } of step.writes) {
            const batch = tx.in(this.#tree(tree))
            if (operation.kind === 'put') batch.put(operation.key, operation.value)
            else if (operation.kind === 'putIfAbsent') batch.putIfAbsent(operation.key, operation.value)
            else if (operation.kind === 'delete') batch.delete(operation.key)
            else if (operation.kind === 'deletePrefix') batch.deletePrefix(operation.prefix)
            else if (operation.kind === 'rename')
              batch.rename(operation.from, operation.to, { force: operation.force })
            else batch.renamePrefix(operation.from, operation.to, { force: operation.force })
          }
        })
        this.#answer(
          await outcomeOf(
            done.then((result) => {
              if (result.committed) {
                this.#version(result.version)
                return 'committed'
              }
              return `${String(result.failed.index)} ${result.failed.reason}`
            }),
          ),
        )
        return
      }
      case 'snapshot':
        this.#answer(await outcomeOf(db.snapshot(step.name).then(() => 'taken')))
        return
      case 'dropSnapshot':
        this.#answer(await outcomeOf(db.dropSnapshot(step.name).then(() => 'dropped')))
        return
      case 'readSnapshot':
        if (db.snapshots().some(({ name }) => name === step.name)) {
          const view = db.openSnapshot(step.name)
          this.#readView(view, step)
          view.close()
        }
        return
      case 'view':
      case 'closeView':
        this.#views.get(step.view)?.close()
        this.#views.delete(step.view)
        if (step.kind === 'view') this.#views.set(step.view, db.view())
        return
      case 'readView': {
        const view = this.#views.get(step.view)
        if (view !== undefined) this.#readView(view, step)
        return
      }
      case 'get': {
        const record = this.#tree(step.tree).getRecord(step.key)
        this.#version(record?.version)
        this.#answer(hex(record?.value))
        return
      }
      case 'scan':
      case 'list': {
        const { kind: _, ...query } = { ...step.range, kind: step.kind }
        const found = this.#tree(step.tree)
          .scan(query as { readonly delimiter: Uint8Array })
          .toArray()
        this.#answer(
          found
            .map((entry) =>
              entry.kind === 'prefix' ? `${hex(entry.prefix)}*` : `${hex(entry.key)}=${hex(entry.value)}`,
            )
            .join(' '),
        )
        return
      }
      case 'checkpoint':
        await db.checkpoint()
        return
      case 'sync':
        await db.sync()
        return
      case 'compact':
        await db.compact()
        return
      case 'vacuum':
        await db.vacuum()
        return
      case 'reopen':
        await this.#reopen()
        return
      case 'arm':
    }
  }

  #readView(view: DbView, at: { readonly tree: TreeNumber; readonly key: Uint8Array }): void {
    const names = ['first', 'second'] as const
    const tree = view.tree(names[at.tree], { keyEncoding: 'view', valueEncoding: 'view' })
    this.#answer(hex(tree.getRecord(at.key)?.value))
    for (const { key, value, version } of tree.scan()) {
      this.#version(version)
      this.#answer(`${hex(key)}=${hex(value)}`)
    }
  }

  #write({ tree: number, operation }: TreeWrite): Promise<unknown> {
    const tree = this.#tree(number)
    switch (operation.kind) {
      case 'put':
        return tree.put(operation.key, operation.value)
      case 'putIfAbsent':
        return tree.putIfAbsent(operation.key, operation.value).then((version) => {
          this.#version(version)
          return version !== undefined
        })
      case 'delete':
        return tree.delete(operation.key)
      case 'deletePrefix':
        return tree.deletePrefix(operation.prefix)
      case 'rename':
        return tree.rename(operation.from, operation.to, { force: operation.force }).then((version) => {
          this.#version(version)
          return 'renamed'
        })
      case 'renamePrefix':
        return tree.renamePrefix(operation.from, operation.to, { force: operation.force }).then(() => 'moved')
    }
  }

  #readAll(): void {
    for (const tree of this.#trees) {
      for (const { key, value, version } of tree.scan()) {
        this.#version(version)
        this.#answer(`${hex(key)}=${hex(value)}`)
      }
      const { keys, valueBytes } = tree.count()
      this.#answer(`${String(keys)} keys, ${String(valueBytes)} B`)
    }
  }
}

async function outcomeOf(done: Promise<unknown>): Promise<string> {
  try {
    return String(await done)
  } catch (error) {
    if (isHoltError(error)) return error.code
    throw error
  }
}

describe('one history under every option gives one answer', () => {
  let parent: string
  beforeAll(() => {
    parent = mkdtempSync(join(tmpdir(), 'holt-one-answer-'))
  })
  afterAll(() => {
    rmSync(parent, { recursive: true, force: true })
  })

  function play(
    { disk, options }: Setting,
    place: string,
    steps: readonly HistoryStep[],
  ): Promise<readonly string[]> {
    if (disk !== 'sim')
      return new Player(() => open(join(parent, place), { io: disk, ...options })).play(steps)
    const io = new SimDisk({ seed: 1 })
    return new Player(() => {
      io.kill()
      return open('/db', { io: io.start({ autoAdvance: true }), ...options })
    }).play(steps)
  }

  test.each(Array.from({ length: HISTORIES }, (_, i) => SEED + i))(
    'history %i',
    async (seed) => {
      const { steps } = generateHistory(seed)
      let first: readonly string[] | undefined
      for (const [number, setting] of SETTINGS.entries()) {
        const answers = await play(setting, `${String(seed)}-${String(number)}`, steps)
        first ??= answers
        const at = answers.findIndex((answer, i) => answer !== first?.[i])
        expect(at < 0 ? 'the same' : [setting.name, at, answers[at], first[at]]).toBe('the same')
        expect(answers, setting.name).toHaveLength(first.length)
      }
      expect(first?.length).toBeGreaterThan(100)
    },
    120_000,
  )

  test('a plain Io of node:fs, given by the caller, too', async () => {
    const { steps } = generateHistory(99)
    const io = FsIo.create()
    const options = { checkpoint: { thread: false }, usableFrameBytes: 12_288, segmentBytes: 65_536 } as const
    const own = await new Player(() => open(join(parent, 'own'), { io, ...options })).play(steps)
    const theirs = await play({ name: '', disk: 'sim', options }, '', steps)
    expect(own).toEqual(theirs)
    await io.dispose()
  })
})
