import { conformance } from '@holt/uring-native/conformance'
import { describe, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimProcessOptions } from '../../src/index.js'

function suite(name: string, options: SimProcessOptions): void {
  describe(`SimIo, ${name}`, () => {
    let seed = 0
    conformance({
      test,
      factory: async () => {
        const io = new SimDisk({ seed: ++seed }).start(options)
        await io.mkdir('/disk/dir')
        return { io, directory: '/disk/dir', cleanup: () => Promise.resolve() }
      },
      supports: {
        map: options.mappings !== false,
        lock: options.locks !== false,
        virtualTime: options.autoAdvance !== true,
      },
    })
  })
}

suite('in order', { autoAdvance: true })
suite('reordered', { reorder: true, autoAdvance: true })
suite('with a clock that stands still', { reorder: true })
suite('without mappings and locks', { autoAdvance: true, mappings: false, locks: false })
suite('where every call takes a time of its own', {
  autoAdvance: true,
  reorder: true,
  latency: {
    read: { leastMs: 0.05, mostMs: 2 },
    write: { leastMs: 0.1, mostMs: 5 },
    sync: 4,
    other: { leastMs: 0, mostMs: 1 },
  },
})
suite('where every call is interrupted and short at times', {
  autoAdvance: true,
  reorder: true,
  faults: [
    { operation: 'any', times: Infinity, probability: 0.2, errno: 'EINTR' },
    { operation: ['read', 'write', 'writeDsync'], times: Infinity, probability: 0.3, shortBytes: 512 },
  ],
})
