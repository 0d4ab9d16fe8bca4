import assert from 'node:assert/strict'

import type { HoltErrorCode } from '@holt/errors'

import type { Io, IoFile } from '../io.js'

/** A fresh Io and a directory of its own, empty, for one test. */
export interface ConformanceTarget {
  readonly io: Io
  /** All paths of the test lie in it. */
  readonly directory: string
  /** Called last, after `io.dispose()`: removes whatever the factory made. */
  cleanup(): Promise<void>
}

/** What an Io may lack by its contract; what is missing here is taken to be lacking. */
export interface ConformanceSupports {
  /** `map` gives mappings for files in the target's directory. */
  readonly map?: boolean
  /** `lock` gives locks for files in the target's directory. */
  readonly lock?: boolean
  /** There is a queue to the device: `counters` has `queue` and `latency`. */
  readonly queueCounters?: boolean
  /** Time stands still by itself: tests that wait for a timer are left out. */
  readonly virtualTime?: boolean
}

export interface ConformanceOptions {
  /** How the runner takes a test: `test` or `it` of vitest, node:test, mocha and others. */
  readonly test: (title: string, body: () => Promise<void>) => unknown
  readonly factory: () => Promise<ConformanceTarget>
  readonly supports?: ConformanceSupports
  /** Zeroed memory whose address suits `direct` transfers. Needed only by an Io that really bypasses the cache. */
  readonly alignedBytes?: (lengthBytes: number) => Uint8Array
}

/** What a test works with. */
export interface Scenario {
  readonly io: Io
  readonly directory: string
  /** A path in the test's directory. */
  readonly path: (name: string) => string
  /** A file of the directory, made if absent, open for reading and writing, with these bytes written at 0. */
  readonly file: (name: string, bytes?: Uint8Array) => Promise<IoFile>
  /** Ends the Io before the test does. */
  readonly dispose: () => Promise<void>
}

export interface Suite {
  readonly supports: ConformanceSupports
  readonly alignedBytes: (lengthBytes: number) => Uint8Array
  readonly test: (title: string, body: (scenario: Scenario) => Promise<void>) => void
}

export function makeSuite(options: ConformanceOptions): Suite {
  return {
    supports: options.supports ?? {},
    alignedBytes: options.alignedBytes ?? ((lengthBytes) => new Uint8Array(lengthBytes)),
    test: (title, body) => {
      void options.test(title, async () => {
        const target = await options.factory()
        const { io, directory } = target
        let disposed: Promise<void> | undefined
        const dispose = (): Promise<void> => (disposed ??= io.dispose())
        const path = (name: string): string => `${directory}/${name}`
        const file = async (name: string, bytes: Uint8Array = new Uint8Array(0)): Promise<IoFile> => {
          const opened = await io.open(path(name), { access: 'readwrite', create: true })
          await io.write(opened, 0, bytes)
          return opened
        }
        try {
          await body({ io, directory, path, file, dispose })
        } finally {
          try {
            await dispose()
          } finally {
            await target.cleanup()
          }
        }
      })
    },
  }
}

// ---- bytes -----------------------------------------------------------------------------------------------------

/** Bytes that differ from place to place and from seed to seed, so that a shifted or foreign piece is seen. */
export function pattern(lengthBytes: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(lengthBytes)
  const next = randomNumbers(seed)
  for (let i = 0; i < lengthBytes; i++) bytes[i] = next(256)
  return bytes
}

/** Numbers below a bound from a seed: the generator mulberry32. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** Compares without printing megabytes: the message names the first place that differs. */
export function sameBytes(found: Uint8Array, expected: Uint8Array, what = 'bytes'): void {
  assert.equal(found.length, expected.length, `${what}: length`)
  if (Buffer.compare(found, expected) === 0) return
  const at = found.findIndex((byte, index) => byte !== expected[index])
  assert.fail(`${what}: at ${String(at)} found ${String(found[at])}, expected ${String(expected[at])}`)
}

/** The file's bytes, all of them. */
export async function contents(io: Io, file: IoFile): Promise<Uint8Array> {
  const { sizeBytes } = await io.stat(file)
  const bytes = new Uint8Array(sizeBytes)
  await io.read(file, 0, bytes)
  return bytes
}

// ---- errors ----------------------------------------------------------------------------------------------------

/** Errors are judged by their shape: the Io under test may have another copy of the class. */
function assertCode(error: unknown, codes: readonly HoltErrorCode[], what: string): void {
  if (!(error instanceof Error) || error.name !== 'HoltError' || !('code' in error)) {
    assert.fail(`${what}: expected a HoltError, found ${String(error)}`)
  }
  assert.ok(
    codes.some((code) => code === error.code),
    `${what}: expected ${codes.join(' or ')}, found ${String(error.code)}: ${error.message}`,
  )
}

/** Expects a promise, not a throw, and that it rejects with one of the codes. Gives the error back. */
export async function rejects(
  operation: () => Promise<unknown>,
  code: HoltErrorCode | readonly HoltErrorCode[],
  what = operation.toString(),
): Promise<unknown> {
  const promise = operation()
  let error: unknown
  try {
    await promise
  } catch (caught) {
    error = caught
  }
  if (error === undefined) assert.fail(`${what}: expected ${String(code)}, and it resolved`)
  assertCode(error, typeof code === 'string' ? [code] : code, what)
  return error
}

/** Runs a blocking operation at once; what it throws becomes a rejection. */
export function settle(operation: () => void): Promise<void> {
  return new Promise((resolve) => {
    operation()
    resolve()
  })
}

/** Expects a throw with the code. */
export function throws(operation: () => unknown, code: HoltErrorCode, what = operation.toString()): void {
  let error: unknown
  try {
    operation()
  } catch (caught) {
    error = caught
  }
  if (error === undefined) assert.fail(`${what}: expected ${code}, and it returned`)
  assertCode(error, [code], what)
}

/** Hands a value to a parameter that its type would refuse, as a caller without types would. */
export function untyped(value: unknown): never {
  return value as never
}
