import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'

import { expect, test } from 'vitest'

import { loadAddon } from '../src/addon.js'
import { adviseHugePages, populateMemory } from '../src/huge-pages.js'
import { addressOfBytes } from '../src/memory-address.js'

/** The flags of the mapping with this address, as the kernel tells them. */
function mappingFlags(address: number): string[] {
  let isInside = false
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line)
    if (range !== null) isInside = parseInt(range[1], 16) <= address && address < parseInt(range[2], 16)
    else if (isInside && line.startsWith('VmFlags:')) return line.slice('VmFlags:'.length).trim().split(' ')
  }
  return []
}

test('huge pages can be asked for exactly where the addon loads', () => {
  expect(adviseHugePages !== undefined).toBe('addon' in loadAddon())
})

const hasHugePages = existsSync('/sys/kernel/mm/transparent_hugepage/enabled')

// A kernel built without them refuses the advice.
test.runIf(adviseHugePages && hasHugePages)(
  'shared memory is marked for huge pages, its bytes stay zero',
  () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(16 << 20))
    const address = addressOfBytes?.(bytes) ?? 0
    expect(mappingFlags(address + (8 << 20))).not.toContain('hg')
    expect(adviseHugePages?.(bytes)).toBe(true)
    expect(mappingFlags(address + (8 << 20))).toContain('hg')
    bytes[8 << 20] = 1
    expect([bytes[0], bytes[8 << 20], bytes[(16 << 20) - 1]]).toEqual([0, 1, 0])
  },
)

test.runIf(adviseHugePages)('less than a page is refused and changes nothing', () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(100))
  bytes[99] = 7
  expect(adviseHugePages?.(bytes)).toBe(false)
  expect(bytes[99]).toBe(7)
})

/** Bytes of the mapping with this address that are in memory. */
function residentBytes(address: number): number {
  let isInside = false
  for (const line of readFileSync('/proc/self/smaps', 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line)
    if (range !== null) isInside = parseInt(range[1], 16) <= address && address < parseInt(range[2], 16)
    else if (isInside && line.startsWith('Rss:')) return parseInt(line.slice('Rss:'.length), 10) * 1024
  }
  return 0
}

test.runIf(populateMemory)('memory is made present by another thread, and what it holds stays', async () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(32 << 20))
  const address = addressOfBytes?.(bytes) ?? 0
  bytes[20 << 20] = 7
  const before = residentBytes(address + (16 << 20))
  const populated = populateMemory?.(bytes.subarray(8 << 20, 24 << 20))
  bytes[9 << 20] = 8
  await populated
  expect([bytes[20 << 20], bytes[9 << 20], bytes[10 << 20]]).toEqual([7, 8, 0])
  const [major = 0, minor = 0] = release().split('.').map(Number)
  // Before 5.14 the system leaves it to the first touch.
  if (major > 5 || (major === 5 && minor >= 14))
    expect(residentBytes(address + (16 << 20)) - before).toBeGreaterThan(12 << 20)
  await populateMemory?.(new Uint8Array(new SharedArrayBuffer(10)))
})
