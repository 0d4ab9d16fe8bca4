import { HoltError } from '@holt/errors'

import { FsIo } from './fs-io.js'
import type { Io } from './io.js'
import { UringIo } from './uring-io.js'

export type IoPreference = 'auto' | 'uring' | 'fs'

export interface OpenIoOptions {
  /** `'auto'` (default): what `HOLT_IO` in the environment says, else io_uring where it works. */
  readonly prefer?: IoPreference | undefined
}

/**
 * The Io for this machine: io_uring where the addon loads and the kernel gives a ring, else node:fs. That io_uring is
 * missing is never an error, wanted expressly or not; `kind` and `fallbackReason` of the result tell.
 *
 * @throws `HOLT_INVALID_ARGUMENT` for another preference, in the options or in the environment variable `HOLT_IO`
 */
export function openIo(options: OpenIoOptions = {}): Io {
  return chooseIo(options, process.env, () => UringIo.create())
}

/** {@link openIo} with its surroundings as arguments. */
export function chooseIo(
  options: OpenIoOptions,
  environment: Readonly<Record<string, string | undefined>>,
  createUringIo: () => Io,
): Io {
  if (wanted(options, environment) === 'fs') return FsIo.create()
  try {
    return createUringIo()
  } catch (error) {
    return FsIo.create({ fallbackReason: oneLine(error) })
  }
}

function wanted(options: unknown, environment: Readonly<Record<string, string | undefined>>): IoPreference {
  if (typeof options !== 'object' || options === null)
    throw invalid('the options of openIo must be an object')
  for (const name of Object.keys(options)) {
    if (name !== 'prefer') throw invalid(`openIo does not know the option '${name}'`)
  }
  const { prefer = 'auto' } = options as { readonly prefer?: unknown }
  const preference = checkPreference(prefer, 'prefer')
  const fromEnvironment = environment['HOLT_IO'] ?? ''
  if (preference !== 'auto' || fromEnvironment === '') return preference
  return checkPreference(fromEnvironment, 'HOLT_IO in the environment')
}

function checkPreference(value: unknown, name: string): IoPreference {
  if (value === 'auto' || value === 'uring' || value === 'fs') return value
  const found = typeof value === 'string' ? `'${value}'` : `a ${typeof value}`
  throw invalid(`${name} must be 'auto', 'uring' or 'fs', found ${found}`)
}

function oneLine(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error)
  return said.split('\n', 1)[0].trim() || 'io_uring is refused, no reason given'
}

function invalid(message: string): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', message)
}
