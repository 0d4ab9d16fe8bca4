import { describe, expect, test } from 'vitest'

import { checkLines, checkNamedPaths, checkPackages, checkReachable } from '../index.mjs'

const file = (path, text = '') => ({ path, text })
const workspacePackage = (name, dependencies = {}, devDependencies = {}) => ({
  directory: `packages/${name}`,
  manifest: { name, license: 'MIT', dependencies, devDependencies },
})

describe('lines', () => {
  test('reports a singled-out test, in every spelling', () => {
    const only = '.only'
    const text = [
      `test${only}('a')`,
      `describe.concurrent${only}('b')`,
      `it${only}.each([])`,
      "test('c')",
    ].join('\n')
    expect(checkLines([file('packages/a/test/a.test.ts', text)])).toHaveLength(3)
  })

  test('reports a code line above 140 characters, not one of prose', () => {
    const text = `${'x'.repeat(140)}\n${'x'.repeat(141)}`
    expect(checkLines([file('a.ts', text), file('a.md', text)])).toEqual([expect.stringContaining('a.ts:2')])
  })

  test('lets a long message that stands alone on its line be', () => {
    const text = `  \`${'x'.repeat(141)}\`,\n  throw new Error('${'x'.repeat(141)}')`
    expect(checkLines([file('a.ts', text)])).toEqual([expect.stringContaining('a.ts:2')])
  })

  test('reports a path of one machine', () => {
    const paths = ['work', 'root', 'Users'].map((name) => `see /${name}/somebody/x`)
    expect(checkLines([file('README.md', paths.join('\n'))])).toHaveLength(3)
    expect(checkLines([file('a.ts', "'a/work/b'; `${x}/root/y`; '../work/z'")])).toEqual([])
  })
})

describe('dead files', () => {
  const manifest = file('packages/a/package.json', '{"exports": {"@holt/source": "./src/index.ts"}}')

  test('follows imports, exports, dynamic imports and named programs', () => {
    const files = [
      manifest,
      file('packages/a/src/index.ts', "export * from './b.js'\nawait import('./c.js')"),
      file('packages/a/src/b.ts', "new Worker(new URL('./d.js', import.meta.url))"),
      file('packages/a/src/c.ts'),
      file('packages/a/src/d.ts'),
      file('packages/a/test/a.test.ts', "spawn('fixtures/child.mjs'); run('worker.mjs')"),
      file('packages/a/test/fixtures/worker.mjs'),
      file('packages/a/test/fixtures/child.mjs'),
    ]
    expect(checkReachable(files)).toEqual([])
  })

  test('reports a source that nobody imports, and one that only a test imports', () => {
    const files = [
      manifest,
      file('packages/a/src/index.ts'),
      file('packages/a/src/dead.ts'),
      file('packages/a/src/tested.ts'),
      file('packages/a/test/a.test.ts', "import '../src/tested.js'"),
      file('packages/a/test/helper.ts'),
    ]
    expect(checkReachable(files).map((text) => text.split(':')[0])).toEqual([
      'packages/a/src/dead.ts',
      'packages/a/src/tested.ts',
      'packages/a/test/helper.ts',
    ])
  })

  test('counts the entries of tsup.config.ts', () => {
    const config = file('packages/a/tsup.config.ts', "packageOptions({ worker: 'src/worker.ts' })")
    expect(checkReachable([manifest, config, file('packages/a/src/worker.ts')])).toEqual([])
  })
})

describe('packages', () => {
  test('reports a cycle that only devDependencies close', () => {
    const packages = [
      workspacePackage('a', { b: 'workspace:*' }),
      workspacePackage('b', {}, { a: 'workspace:*' }),
    ]
    expect(checkPackages(packages, () => true)).toEqual(['the packages form a cycle: a → b → a'])
  })

  test('reports a dependency that does not lie beneath, one not of the workspace, and one not pinned', () => {
    const packages = [workspacePackage('a', { b: '1.0.0', c: '^1.0.0' }), workspacePackage('b')]
    const complaints = checkPackages(packages, () => false)
    expect(complaints).toHaveLength(3)
    expect(complaints.join()).toMatch(/workspace.*beneath.*pinned/)
  })

  test('has nothing to say of a clean pair', () => {
    const packages = [workspacePackage('a', { b: 'workspace:*', c: '1.2.3' }), workspacePackage('b')]
    expect(checkPackages(packages, (from, name) => from === 'a' && name === 'b')).toEqual([])
  })
})

describe('names in pages', () => {
  test('reports a link and a path written as code that lead nowhere', () => {
    const text =
      'see [a](../a.md#part), [b](b.md), `packages/c/src/c.ts` and `packages/d/src/d.ts`, https://x.org'
    const there = new Set(['a.md', 'packages/c/src/c.ts'])
    expect(checkNamedPaths([file('docs/page.md', text)], (path) => there.has(path))).toEqual([
      'docs/page.md: names docs/b.md, which is not there',
      'docs/page.md: names packages/d/src/d.ts, which is not there',
    ])
  })
})
