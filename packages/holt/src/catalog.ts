import { type ArtIndex, Cursor, END } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { Durability } from './durability.js'
import type { Engine } from './engine.js'
import { foundBytes } from './found-value.js'
import { keyCodec, type KeyEncodingName } from './key-encoding.js'
import { LIMITS, TREE_ID_BYTES } from './limits.js'
import type { Operation } from './operation.js'
import { withTreeId } from './range.js'
import type { TreeState } from './tree-state.js'

/** What the catalogue keeps of a tree. */
export interface TreeRecord {
  readonly id: number
  readonly keyEncoding: KeyEncodingName
  /** Name of the value encoding. */
  readonly valueEncoding: string
}

/** The catalogue is the tree with this id: name → record, as JSON text. */
export const CATALOG_ID = 0
/** No tree can have the empty name: its record counts the ids handed out. */
export const COUNTER_NAME = ''
const MAX_TREE_ID = 2 ** 32 - 1

/** The named trees of a database. Creating one is an ordinary write. */
export class Catalog {
  readonly #engine: Engine
  /** Creations under way, so that two calls for one name make one tree. */
  readonly #creating = new Map<string, Promise<TreeRecord>>()

  /** Drops under way, by name. */
  readonly #dropping = new Map<string, Promise<unknown>>()
  /** Of trees that were opened. */
  readonly #states = new Map<number, TreeState>()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** What all handles of that tree share. */
  stateOf(id: number, name: string): TreeState {
    let state = this.#states.get(id)
    if (state === undefined) this.#states.set(id, (state = { name, dropped: false }))
    return state
  }

  /** Removes a tree's record and all its keys. Rejects `HOLT_NOT_FOUND`, and what a write rejects with. */
  async drop(name: string, durability: Durability): Promise<void> {
    checkName(name)
    const record = this.#dropping.has(name) ? undefined : this.find(name)
    if (record === undefined) throw new HoltError('HOLT_NOT_FOUND', `there is no tree '${name}'`)
    const state = this.stateOf(record.id, name)
    // At once: a write that is called behind this one would come behind the drop and belong to nobody.
    state.dropped = true
    const dropping = this.#engine.write(
      [
        { kind: 'delete', key: catalogKey(name) },
        // Also of an empty tree: whoever reads the journal later learns by it which id had the name.
        { kind: 'deletePrefix', key: withTreeId(record.id, new Uint8Array(0)), always: true },
      ],
      durability,
    )
    this.#dropping.set(name, dropping)
    try {
      await dropping
    } catch (error) {
      state.dropped = this.find(name)?.id !== record.id
      throw error
    } finally {
      this.#dropping.delete(name)
    }
  }

  /** The record of a tree; `undefined` if there is none of that name. */
  find(name: string): TreeRecord | undefined {
    return findTree(this.#engine.index, name)
  }

  /** The name of a tree that there is, or that was dropped since the database was opened. */
  nameOf(id: number): string | undefined {
    const state = this.#states.get(id)
    if (state !== undefined) return state.name
    const { index } = this.#engine
    const cursor = new Cursor(index, { prefix: withTreeId(CATALOG_ID, new Uint8Array(0)) })
    while (cursor.next() !== END) {
      const name = treeNameOf(cursor.key.subarray(0, cursor.keyLength))
      if (name === COUNTER_NAME) continue
      const record = this.find(name)
      if (record?.id === id) return name
    }
    return undefined
  }

  /** The tree's record, made if there is none. Rejects `HOLT_INVALID_ARGUMENT` for a name that cannot be one. */
  async findOrCreate(name: string, keyEncoding: KeyEncodingName, valueEncoding: string): Promise<TreeRecord> {
    checkName(name)
    for (;;) {
      const dropping = this.#dropping.get(name)
      if (dropping !== undefined) {
        await dropping.catch(() => undefined)
        continue
      }
      const found = this.find(name)
      if (found !== undefined) return found
      const underWay = this.#creating.get(name)
      if (underWay !== undefined) return await underWay
      const creating = this.#create(name, keyEncoding, valueEncoding)
      this.#creating.set(name, creating)
      try {
        return await creating
      } finally {
        this.#creating.delete(name)
      }
    }
  }

  async #create(name: string, keyEncoding: KeyEncodingName, valueEncoding: string): Promise<TreeRecord> {
    if (this.#engine.readOnly)
      throw new HoltError(
        'HOLT_READ_ONLY',
        `there is no tree '${name}', and a database that was opened for reading makes none`,
      )
    for (;;) {
      const last = this.#readCounter()
      const id = (last?.id ?? CATALOG_ID) + 1
      if (id > MAX_TREE_ID) throw new HoltError('HOLT_OUT_OF_MEMORY', 'all tree ids were handed out')
      const record: TreeRecord = { id, keyEncoding, valueEncoding }
      const counter = encode({ id })
      const outcome = await this.#engine.write(
        [
          // Two creations at once would take the same id: the counter's version tells the second one.
          last === undefined
            ? { kind: 'putIfAbsent', key: catalogKey(COUNTER_NAME), value: counter }
            : { kind: 'compareAndPut', key: catalogKey(COUNTER_NAME), value: counter, version: last.version },
          { kind: 'putIfAbsent', key: catalogKey(name), value: encode(record) },
        ] satisfies Operation[],
        this.#engine.durability,
      )
      if (outcome.committed) return record
      const found = this.find(name)
      if (found !== undefined) return found
    }
  }

  #readCounter(): { readonly id: number; readonly version: number } | undefined {
    const value = readRecord(this.#engine.index, COUNTER_NAME)
    if (value === undefined) return undefined
    const id = parse(COUNTER_NAME, value)['id']
    if (!Number.isSafeInteger(id)) throw corrupt(COUNTER_NAME)
    return { id: id as number, version: this.#engine.index.foundVersion }
  }
}

/** The record of a tree; `undefined` if there is none of that name. Throws `HOLT_CORRUPT` for one that is none. */
export function findTree(index: ArtIndex, name: string): TreeRecord | undefined {
  const value = readRecord(index, name)
  return value === undefined ? undefined : parseRecord(name, value)
}

function readRecord(index: ArtIndex, name: string): Uint8Array | undefined {
  const key = catalogKey(name)
  index.key.set(key)
  return index.find(key.length) ? foundBytes(index) : undefined
}

function checkName(name: unknown): asserts name is string {
  if (typeof name !== 'string')
    throw new HoltError('HOLT_INVALID_ARGUMENT', `a tree's name is ${typeof name}; a string is wanted`)
  if (name === '') throw new HoltError('HOLT_INVALID_ARGUMENT', "a tree's name is empty")
  const bytes = keyCodec('utf8').encode(name)
  if (bytes.length > LIMITS.maxTreeNameBytes) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `a tree's name has ${String(bytes.length)} bytes; at most ${String(LIMITS.maxTreeNameBytes)} are allowed`,
    )
  }
}

function catalogKey(name: string): Uint8Array {
  return withTreeId(CATALOG_ID, keyCodec('utf8').encode(name))
}

/** The name that a key of the catalogue, tree id included, stands for. */
export function treeNameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('utf8', TREE_ID_BYTES)
}

function encode(record: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(record))
}

function corrupt(name: string, cause?: unknown): HoltError {
  return new HoltError(
    'HOLT_CORRUPT',
    `the catalogue's record of tree ${JSON.stringify(name)} cannot be read`,
    { cause },
  )
}

function parse(name: string, value: Uint8Array): Readonly<Record<string, unknown>> {
  let record: unknown
  try {
    record = JSON.parse(Buffer.from(value).toString('utf8'))
  } catch (cause) {
    throw corrupt(name, cause)
  }
  if (typeof record !== 'object' || record === null) throw corrupt(name)
  return record as Readonly<Record<string, unknown>>
}

export function parseRecord(name: string, value: Uint8Array): TreeRecord {
  const { id, keyEncoding, valueEncoding }: { readonly [name in keyof TreeRecord]?: unknown } = parse(
    name,
    value,
  )
  const known = keyEncoding === 'utf8' || keyEncoding === 'view' || keyEncoding === 'buffer'
  if (!Number.isSafeInteger(id) || !known || typeof valueEncoding !== 'string') throw corrupt(name)
  return { id: id as number, keyEncoding, valueEncoding }
}
