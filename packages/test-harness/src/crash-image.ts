import type { PowerLossStyle } from './disk-state.js'
import type { SeededRandom } from './seeded-random.js'

/** Which of the disks that a power loss may leave is wanted. */
export interface CrashOptions {
  readonly seed: number
  /** Probability, 0 … 1, that an unsynced sector is found on the medium. Default: drawn from the seed. */
  readonly keepSectors?: number
  /** Probability, 0 … 1, that an unsynced change of a name is found on the medium. Default: drawn from the seed. */
  readonly keepNames?: number
}

/**
 * The style of a power loss. Everything lost and everything kept are the cases that a fair coin per sector never comes
 * to, so each is drawn as often as a mixture.
 */
export function drawStyle(random: SeededRandom, options: CrashOptions): PowerLossStyle {
  const sectors = drawProbability(random)
  const names = drawProbability(random)
  return { keepSectors: options.keepSectors ?? sectors, keepNames: options.keepNames ?? names }
}

function drawProbability(random: SeededRandom): number {
  return random.pick([0, 1, 0.1, 0.5, 0.5, 0.9])
}
