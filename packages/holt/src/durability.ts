import { HoltError } from '@holt/errors'

/**
 * What an acknowledged write survives.
 *
 * - `'memory'`: nothing but what a checkpoint wrote; there is no journal.
 * - `'os'`: the death of the process at any instant. A power loss takes at most what was written since the start of the
 *   last completed sync, one of which starts `syncIntervalMs` after the first unsynced byte.
 * - `'disk'`: power loss.
 */
export type Durability = 'memory' | 'os' | 'disk'

/** What may be asked of a single write: more than the database gives, never less. */
export function raisedDurability(database: Durability, asked: unknown): Durability {
  if (asked === undefined || asked === database) return database
  if (asked === 'disk' && database === 'os') return 'disk'
  throw new HoltError(
    'HOLT_INVALID_ARGUMENT',
    `a write's durability is ${JSON.stringify(asked)}; over a database of durability '${database}' it can be ${database === 'os' ? "'os' or 'disk'" : `'${database}' only`}`,
  )
}
