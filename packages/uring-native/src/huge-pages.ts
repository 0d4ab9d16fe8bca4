import { loadAddon } from './addon.js'

/**
 * Asks the system to back memory that nobody has touched yet by pages of 2 MiB instead of 4 KiB where it can: a walk at
 * random through 100 MiB otherwise misses the processor's table of pages at nearly every step. Returns whether the system
 * took the advice; whether there are such pages to be had shows only later. `undefined` without the native addon.
 */
export const adviseHugePages: ((bytes: Uint8Array) => boolean) | undefined = find()

function find(): ((bytes: Uint8Array) => boolean) | undefined {
  const loaded = loadAddon()
  if (!('addon' in loaded)) return undefined
  const { addon } = loaded
  return (bytes) => addon.adviseHugePages(bytes) === 0
}
