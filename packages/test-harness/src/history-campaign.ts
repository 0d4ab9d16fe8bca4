import { generateHistory } from './history-generator.js'
import { HistoryFailure, noCounts, runHistory } from './history-runner.js'
import type { HistoryCounts } from './history-runner.js'

export interface CampaignOptions {
  readonly count: number
  /** The first history's seed; the others follow one by one. Default 1. */
  readonly seed?: number
  readonly durability?: 'os' | 'disk'
  readonly onProgress?: (done: number, counts: Readonly<HistoryCounts>) => void
}

/** Runs many histories. Throws {@link HistoryFailure} at the first that fails, or lacks what each must have. */
export async function runCampaign(options: CampaignOptions): Promise<HistoryCounts> {
  const total = noCounts()
  const first = options.seed ?? 1
  for (let seed = first; seed < first + options.count; seed++) {
    const history = generateHistory(seed, options.durability)
    const counts = await runHistory(history)
    const lacking = lackingOf(counts)
    if (lacking !== undefined) throw new HistoryFailure(history, history.steps.length, lacking)
    for (const name of Object.keys(total) as (keyof HistoryCounts)[]) total[name] += counts[name]
    options.onProgress?.(seed - first + 1, total)
  }
  return total
}

/** What a history must have gone through to count. */
function lackingOf(counts: HistoryCounts): string | undefined {
  if (counts.spills < 1) return 'it spilled no frame'
  if (counts.checkpoints < 1) return 'it has no checkpoint'
  if (counts.segmentSwitches < 1) return 'it switched no segment'
  if (counts.operations < 200) return `it has ${String(counts.operations)} operations, 200 are wanted`
  const reopens = counts.kills + counts.powerLosses
  if (reopens < 3) return `it has ${String(reopens)} reopens after a kill or a power loss, 3 are wanted`
  return undefined
}

/** The counts as lines of a report. */
export function describeCounts(counts: HistoryCounts): string {
  return [
    `${String(counts.histories)} histories, ${String(counts.operations)} operations ` +
      `(${String(counts.batches)} batches, ${String(counts.renames)} renames, ${String(counts.reads)} reads)`,
    `reopens after: ${String(counts.kills)} kills, ${String(counts.powerLosses)} power losses, ` +
      `${String(counts.closes)} closes; ${String(counts.crashesAtACall)} of them in the middle of a call, ` +
      `and ${String(counts.cutOffOpenings)} openings cut off`,
    `${String(counts.spills)} spills, ${String(counts.checkpoints)} checkpoints, ` +
      `${String(counts.segmentSwitches)} segment switches, ${String(counts.ioCalls)} calls of the Io`,
  ].join('\n')
}
