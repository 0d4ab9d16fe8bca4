import { loadAddon } from './addon.js'

/**
 * The memory address of an array's first byte, for aligning what is cut out of shared memory, which never moves.
 * `undefined` without the native addon; nothing asks for alignment then.
 */
export const addressOfBytes: ((bytes: Uint8Array) => number) | undefined = find()

function find(): ((bytes: Uint8Array) => number) | undefined {
  const loaded = loadAddon()
  if (!('addon' in loaded)) return undefined
  const { addon } = loaded
  return (bytes) => addon.addressOf(bytes)
}
