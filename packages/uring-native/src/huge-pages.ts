import { loadAddon, type NativeAddon } from './addon.js'

/**
 * Asks the system to back memory that nobody has touched yet by pages of 2 MiB instead of 4 KiB where it can: a walk at
 * random through 100 MiB otherwise misses the processor's table of pages at nearly every step. Returns whether the system
 * took the advice; whether there are such pages to be had shows only later. `undefined` without the native addon.
 */
export const adviseHugePages: ((bytes: Uint8Array) => boolean) | undefined = withAddon(
  (addon) => (bytes) => addon.adviseHugePages(bytes) === 0,
)

/**
 * Has the pages of shared memory that nobody has touched yet made by another thread, so that the one which writes there
 * first does not wait for them: up to some milliseconds each, on virtual machines. What the memory holds stays, whoever
 * writes to it meanwhile. Resolves when it is done, or cannot be done. `undefined` without the native addon.
 */
export const populateMemory: ((bytes: Uint8Array) => Promise<void>) | undefined = withAddon(
  (addon) => (bytes) =>
    new Promise((resolve) => {
      addon.populateMemory(bytes, resolve)
    }),
)

function withAddon<T>(make: (addon: NativeAddon) => T): T | undefined {
  const loaded = loadAddon()
  return 'addon' in loaded ? make(loaded.addon) : undefined
}
