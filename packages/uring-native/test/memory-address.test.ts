import { expect, test } from 'vitest'

import { loadAddon } from '../src/addon.js'
import { addressOfBytes } from '../src/memory-address.js'

test('addresses are known exactly where the addon loads', () => {
  expect(addressOfBytes !== undefined).toBe('addon' in loadAddon())
})

test.runIf(addressOfBytes)('the address of shared memory moves with the offset and stays the same', () => {
  const shared = new SharedArrayBuffer(1 << 16)
  const address = addressOfBytes?.(new Uint8Array(shared)) ?? 0
  expect(Number.isSafeInteger(address) && address > 0).toBe(true)
  expect(addressOfBytes?.(new Uint8Array(shared, 4097, 5))).toBe(address + 4097)
  expect(addressOfBytes?.(new Uint8Array(shared))).toBe(address)
})
