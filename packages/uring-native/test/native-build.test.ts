import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { describe, expect, test } from 'vitest'

import { inDirectory } from './uring-support.js'

const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)))

describe('the build of the addon', () => {
  test('without a compiler removes an old addon, says so in one line and succeeds', async () => {
    await inDirectory(async (directory) => {
      for (const part of ['scripts', 'native'])
        cpSync(join(packageRoot, part), join(directory, part), { recursive: true })
      mkdirSync(join(directory, 'build'))
      for (const name of ['holt_native.node', 'holt_native.stamp'])
        writeFileSync(join(directory, 'build', name), 'old')
      const output = execFileSync(process.execPath, [join(directory, 'scripts/build-native.mjs')], {
        encoding: 'utf8',
        env: { ...process.env, CXX: '/bin/false', CC: '/bin/false' },
      })
      expect(output).toMatch(/^native addon not built \([^\n]+\): the portable node:fs path is used\n$/)
      expect(existsSync(join(directory, 'build/holt_native.node'))).toBe(false)
      expect(existsSync(join(directory, 'build/holt_native.stamp'))).toBe(false)
    })
  })

  test('names no opcode or flag that linux/io_uring.h gives another number', () => {
    const header = '/usr/include/linux/io_uring.h'
    if (!existsSync(header)) return
    const text = readFileSync(header, 'utf8')
    const list =
      /enum \{?\s*(?:\/\*.*\*\/\s*)?IORING_OP_NOP[\s\S]*?IORING_OP_LAST/.exec(text)?.[0] ??
      /IORING_OP_NOP[\s\S]*?IORING_OP_LAST/.exec(text)?.[0]
    const names = [...(list ?? '').matchAll(/IORING_OP_([A-Z0-9_]+)/g)].map(([, name]) => name)
    const ours = readFileSync(join(packageRoot, 'native/ring.h'), 'utf8').matchAll(/kOp(\w+) = (\d+),/g)
    let compared = 0
    for (const [, name, number] of ours) {
      const at = names.indexOf(name.replace(/(?<=.)([A-Z])/g, '_$1').toUpperCase())
      if (at < 0) continue // newer than this header
      compared++
      expect([name, at]).toEqual([name, Number(number)])
    }
    expect(compared).toBeGreaterThan(10)
  })
})

describe('loading the addon', () => {
  test('is switched off by HOLT_NATIVE=off, with the reason', () => {
    const script = `const { openIo } = await import(${JSON.stringify(join(packageRoot, 'dist/index.js'))})
      const io = openIo(); console.log(io.kind + ': ' + io.fallbackReason); await io.dispose()`
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      env: { ...process.env, HOLT_NATIVE: 'off', HOLT_IO: 'auto' },
    })
    expect(output).toBe('fs: the native addon is switched off by HOLT_NATIVE=off\n')
  })
})
