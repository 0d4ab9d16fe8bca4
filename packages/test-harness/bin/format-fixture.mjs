#!/usr/bin/env node
// Makes the store that test/format reads anew, after the format has changed: node packages/test-harness/bin/format-fixture.mjs
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

import { makeFormatStore } from '../dist/index.js'

const target = fileURLToPath(new URL('../test/format/store/', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'holt-format-'))
try {
  const listing = await makeFormatStore(join(work, 'copy'), join(work, 'scratch'))
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  // Almost all of a small store's files is zeros.
  for (const name of readdirSync(join(work, 'copy')))
    writeFileSync(join(target, `${name}.gz`), gzipSync(readFileSync(join(work, 'copy', name)), { level: 9 }))
  const lines = Object.entries(listing).map(
    ([tree, entries]) =>
      `${JSON.stringify(tree)}: [${entries.map((entry) => `\n${JSON.stringify(entry)}`).join(',')}]`,
  )
  writeFileSync(join(target, 'listing.json'), `{${lines.join(',\n')}}\n`)
} finally {
  rmSync(work, { recursive: true, force: true })
}
