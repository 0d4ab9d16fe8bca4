import type { ArtIndex } from '@holt/art-index'
import type { Effect } from './effect.js'

/** Changes the index as a record of the journal says. Throws what the index throws; then nothing has changed. */
export function applyEffect(index: ArtIndex, effect: Effect, seq: number): void {
  const { kind, key } = effect
  if (kind === 'movePrefix') {
    index.movePrefix(key, effect.to)
    return
  }
  index.key.set(key)
  if (kind === 'put') index.put(key.length, effect.value, 0, effect.value.length, seq)
  else if (kind === 'delete') index.delete(key.length)
  else index.deletePrefix(key.length)
}
