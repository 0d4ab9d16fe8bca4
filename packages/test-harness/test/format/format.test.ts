import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { makeFormatStore, type StoreListing } from '../../src/index.js'
import { crc32c, type ParsedStore, parseStore } from './store-parser.js'

const STORE = fileURLToPath(new URL('store/', import.meta.url))
/** What docs/FORMAT.md speaks of; a store that lacks one of it proves nothing about it. */
const EVERYTHING = [
  ...[
    'manifest record',
    'entry',
    'entry above 0',
    'leaf',
    'node4',
    'node16',
    'node48',
    'node256',
    'crossing',
    'filter',
  ],
  ...['prefix of a node', 'terminal', 'large value', 'segment', 'record 16', 'record 17', 'record 18'],
  ...['record 19', 'record 20', 'record 24', 'kind 0 of a batch', 'kind 1 of a batch'],
  ...['kind 2 of a batch', 'kind 3 of a batch', 'record 26', 'record 27'],
  ...['snapshot in the note', 'frame that was let go of'],
]

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'holt-format-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

function listingOf({ trees, snapshots }: ParsedStore): StoreListing {
  const named = [...trees]
  for (const [snapshot, shown] of snapshots)
    for (const [name, entries] of shown) named.push([`${snapshot}: ${name}`, entries])
  return Object.fromEntries(
    named.map(([name, entries]) => [name, entries.map(({ key, value, version }) => [key, value, version])]),
  )
}

function unpack(): StoreListing {
  for (const name of readdirSync(STORE)) {
    if (!name.endsWith('.gz')) continue
    writeFileSync(join(directory, name.slice(0, -3)), gunzipSync(readFileSync(join(STORE, name))))
  }
  return JSON.parse(readFileSync(join(STORE, 'listing.json'), 'utf8')) as StoreListing
}

describe('a parser written from docs/FORMAT.md', () => {
  test('computes the checksum that the page names', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe306_9283)
    expect(crc32c(Buffer.from('b'), crc32c(Buffer.from('a')))).toBe(crc32c(Buffer.from('ab')))
  })

  test('reads the store that is kept here: every key, value and version', () => {
    const listing = unpack()
    const parsed = parseStore(directory)
    expect(listingOf(parsed)).toEqual(listing)
    for (const what of EVERYTHING) expect(parsed.met.get(what), what).toBeGreaterThan(0)
    expect(parsed.met.get('segment')).toBeGreaterThan(1)
  })

  test('reads a store that was just made', async () => {
    const listing = await makeFormatStore(join(directory, 'copy'), join(directory, 'scratch'))
    const parsed = parseStore(join(directory, 'copy'))
    expect(listingOf(parsed)).toEqual(listing)
    for (const what of EVERYTHING) expect(parsed.met.get(what), what).toBeGreaterThan(0)
    // And what close leaves: an image with everything in it, and no log.
    const closed = parseStore(join(directory, 'scratch'))
    expect(listingOf(closed)).toEqual(listing)
    expect(closed.met.get('record 16')).toBeUndefined()
    expect(closed.met.get('segment')).toBeUndefined()
    expect(closed.met.get('snapshot in the note')).toBe(2)
  })

  test('the store that is kept here holds what one made now would hold', async () => {
    const kept = JSON.parse(readFileSync(join(STORE, 'listing.json'), 'utf8')) as StoreListing
    expect(await makeFormatStore(join(directory, 'copy'), join(directory, 'scratch'))).toEqual(kept)
  })

  test('notices a byte that is not as written', () => {
    unpack()
    const data = readFileSync(join(directory, 'blobs.dat'))
    // Byte 100 of page 1 of every slot.
    for (let at = 4_196; at < data.length; at += 524_288) data[at] ^= 1
    writeFileSync(join(directory, 'blobs.dat'), data)
    expect(() => parseStore(directory)).toThrow(/not as the page says: page 1 of blob/)
  })
})
