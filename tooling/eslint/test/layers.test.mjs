import { fileURLToPath } from 'node:url'

import { Linter } from 'eslint'
import tseslint from 'typescript-eslint'
import { describe, expect, test } from 'vitest'

import { layerRule } from '../layer-rule.mjs'
import { LAYERS } from '../layers.mjs'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** Which messages the rule gives for a text that is said to stand in a file of the repository. */
function messageIds(file, text) {
  const linter = new Linter({ configType: 'flat', cwd: ROOT })
  return linter
    .verify(
      text,
      {
        files: ['**/*.ts'],
        languageOptions: { parser: tseslint.parser },
        plugins: { holt: { rules: { layers: layerRule } } },
        rules: { 'holt/layers': 'error' },
      },
      { filename: `${ROOT}${file}` },
    )
    .map((message) => message.messageId ?? message.message)
}

describe('the layer rule', () => {
  test.each([
    ['upwards', 'packages/journal/src/x.ts', "import { open } from 'holt'"],
    ['sideways', 'packages/journal/src/x.ts', "import { BlobId } from '@holt/blob-store'"],
    ['for a type', 'packages/blob-buf-pool/src/x.ts', "import type { Io } from '@holt/uring-native'"],
    ['in an import() type', 'packages/blob-buf-pool/src/x.ts', "let io: import('@holt/uring-native').Io"],
    ['by a re-export', 'packages/uring-native/src/x.ts', "export * from '@holt/journal'"],
    ['by a named re-export', 'packages/uring-native/src/x.ts', "export { a } from '@holt/journal'"],
    ['at run time', 'packages/errors/src/x.ts', "await import('@holt/journal')"],
    ['in a test', 'packages/journal/test/x.test.ts', "import { SimIo } from '@holt/test-harness'"],
    [
      'of the whole of uring-native by art-index',
      'packages/art-index/src/x.ts',
      "import '@holt/uring-native'",
    ],
    ['of a subpath not allowed', 'packages/art-index/src/x.ts', "import '@holt/uring-native/conformance'"],
  ])('reports an import %s', (_, file, text) => {
    expect(messageIds(file, text)).toEqual(['arrow'])
  })

  test('reports a relative import that leaves the package', () => {
    expect(messageIds('packages/journal/src/x.ts', "import '../../blob-store/src/index.js'")).toEqual([
      'relative',
    ])
    expect(messageIds('packages/journal/test/x.ts', "import '../../../scripts/x.mjs'")).toEqual(['relative'])
  })

  test('reports node:fs in the sources of a layer that has to use the Io', () => {
    expect(messageIds('packages/journal/src/x.ts', "import { open } from 'node:fs/promises'")).toEqual([
      'disk',
    ])
    expect(messageIds('packages/holt/src/x.ts', "import fs from 'fs'")).toEqual(['disk'])
  })

  test.each([
    ['beneath it', 'packages/journal/src/x.ts', "import '@holt/uring-native'; import '@holt/blob-buf-pool'"],
    ['of a subpath', 'packages/journal/src/x.ts', "import { crc32c } from '@holt/uring-native/crc32c'"],
    ['of the checksum by art-index', 'packages/art-index/src/x.ts', "import '@holt/uring-native/crc32c'"],
    ['within the package', 'packages/journal/test/x.test.ts', "import { a } from '../src/index.js'"],
    ['of itself by name', 'packages/journal/test/x.test.ts', "import { a } from '@holt/journal'"],
    ['of everything by the harness', 'packages/test-harness/src/x.ts', "import 'holt'; import 'node:fs'"],
    ['of the disk in a test', 'packages/journal/test/x.test.ts', "import 'node:fs'"],
    ['of the disk in the Io', 'packages/uring-native/src/x.ts', "import 'node:fs'"],
    ['of strangers', 'packages/journal/test/x.test.ts', "import { test } from 'vitest'"],
  ])('lets an import %s pass', (_, file, text) => {
    expect(messageIds(file, text)).toEqual([])
  })

  test('knows no cycle: a package lies above all that it may import', () => {
    const names = Object.keys(LAYERS)
    for (const [name, allowed] of Object.entries(LAYERS)) {
      for (const specifier of allowed) {
        const [beneath = ''] = names.filter(
          (other) => specifier === other || specifier.startsWith(`${other}/`),
        )
        expect(names.indexOf(beneath), `${name} → ${specifier}`).toBeLessThan(names.indexOf(name))
        expect(beneath).not.toBe('')
      }
    }
  })
})
