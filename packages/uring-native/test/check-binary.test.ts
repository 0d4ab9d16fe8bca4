import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { describe, expect, test } from 'vitest'

import { inDirectory } from './uring-support.js'

const script = fileURLToPath(new URL('../scripts/check-binary.mjs', import.meta.url))

interface Judged {
  readonly exitCode: number | null
  readonly output: string
}

/** Runs the check with an objdump that says these versions and libraries of the addon. */
async function judge(versions: readonly string[], libraries: readonly string[] = []): Promise<Judged> {
  let judged: Judged = { exitCode: null, output: '' }
  await inDirectory(async (directory) => {
    const symbols = versions.map(
      (version, index) =>
        `0000000000000000      DF *UND*\t0000000000000000 ${version} symbol${String(index)}`,
    )
    const needed = libraries.map((library) => `  NEEDED               ${library}`)
    writeFileSync(join(directory, 'symbols'), `${symbols.join('\n')}\n`)
    writeFileSync(join(directory, 'needed'), `${needed.join('\n')}\n`)
    writeFileSync(join(directory, 'addon.node'), '')
    const said = `[ "$1" = -T ] && exec cat '${directory}/symbols' || exec cat '${directory}/needed'`
    writeFileSync(join(directory, 'objdump'), `#!/bin/sh\n${said}\n`)
    chmodSync(join(directory, 'objdump'), 0o755)
    const ran = spawnSync(process.execPath, [script, join(directory, 'addon.node')], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${directory}${delimiter}${process.env['PATH'] ?? ''}` },
    })
    judged = { exitCode: ran.status, output: `${ran.stdout}${ran.stderr}` }
    return Promise.resolve()
  })
  return judged
}

describe('the check of the built addon', () => {
  test('passes what asks for the ceilings exactly', async () => {
    const versions = ['(GLIBC_2.28)', 'GLIBC_2.2.5 ', '(GLIBCXX_3.4.25)', '(CXXABI_1.3.11)', '(GCC_3.0)']
    const judged = await judge(versions, ['libc.so.6', 'libstdc++.so.6', 'ld-linux-x86-64.so.2'])
    expect(judged).toMatchObject({ exitCode: 0 })
    expect(judged.output).toContain('✓')
  })

  test.each([
    ['(GLIBC_2.29)', 'symbol1 needs GLIBC_2.29'],
    ['GLIBC_2.28.1', 'symbol1 needs GLIBC_2.28.1'],
    ['(GLIBCXX_3.4.26)', 'symbol1 needs GLIBCXX_3.4.26'],
    ['(CXXABI_1.3.12)', 'symbol1 needs CXXABI_1.3.12'],
    ['(OTHER_1.0)', 'symbol1 needs OTHER_1.0'],
  ])('refuses %s and names the symbol that asks for it', async (version, complaint) => {
    const { exitCode, output } = await judge(['(GLIBC_2.14)', version], ['libc.so.6'])
    expect(exitCode).toBe(1)
    expect(output).toContain(complaint)
  })

  test('refuses a library that not every system has', async () => {
    const { exitCode, output } = await judge(['(GLIBC_2.14)'], ['libc.so.6', 'liburing.so.2'])
    expect(exitCode).toBe(1)
    expect(output).toContain('liburing.so.2')
  })

  test('does not pass an addon in which it finds nothing to judge', async () => {
    expect(await judge([])).toMatchObject({ exitCode: 2 })
  })
})
