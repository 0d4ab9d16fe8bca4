import type { ArtIndex } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { Effect } from './effect.js'

/** Changes the index as a record of the journal says. Throws what the index throws; then nothing has changed. */
export function applyEffect(index: ArtIndex, effect: Effect, seq: number): void {
  const { kind, key } = effect
  index.key.set(key)
  if (kind === 'put') index.put(key.length, effect.value, 0, effect.value.length, seq)
  else if (kind === 'delete') index.delete(key.length)
  else if (kind === 'deletePrefix') index.deletePrefix(key.length)
  else throw new HoltError('HOLT_VERSION', 'this release does not move prefixes yet')
}
