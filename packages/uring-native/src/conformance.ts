import { batchTests } from './conformance/batches.js'
import { environmentTests } from './conformance/environment.js'
import { mappingTests } from './conformance/mapping.js'
import { nameTests } from './conformance/names.js'
import { openingTests } from './conformance/opening.js'
import { spaceTests } from './conformance/space.js'
import { stabilityTests } from './conformance/stability.js'
import { makeSuite } from './conformance/suite.js'
import type { ConformanceOptions } from './conformance/suite.js'
import { transferTests } from './conformance/transfers.js'

export type { ConformanceOptions, ConformanceSupports, ConformanceTarget } from './conformance/suite.js'

/**
 * Declares the tests that every {@link Io} must pass, with whatever runner `test` stands for. Each test gets an Io and
 * an empty directory of its own from `factory`, disposes the Io, and then calls `cleanup`. Nothing outside the
 * directory is touched, and nothing supposes that the paths are those of a real file system.
 *
 * ```ts
 * conformance({ test, factory: async () => ({ io: FsIo.create(), directory, cleanup: async () => {} }) })
 * ```
 */
export function conformance(options: ConformanceOptions): void {
  const suite = makeSuite(options)
  openingTests(suite)
  transferTests(suite)
  batchTests(suite)
  stabilityTests(suite)
  spaceTests(suite)
  nameTests(suite)
  mappingTests(suite)
  environmentTests(suite)
}
