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

/** Of so many histories one may lack what each must have, and a few more in a short run. */
const HISTORIES_PER_LACKING_ONE = 50
const ALWAYS_ALLOWED = 3

/**
 * Runs so many histories that have gone through all that each must; one in which a crash cut that off is compared like
 * the others and not counted, and the next seed takes its place. Throws {@link HistoryFailure} at the first that fails,
 * or when too many lack something.
 */
export async function runCampaign(options: CampaignOptions): Promise<HistoryCounts> {
  const total = noCounts()
  let notCounted = 0
  for (let seed = options.seed ?? 1; total.histories < options.count; seed++) {
    const history = generateHistory(seed, options.durability)
    const counts = await runHistory(history)
    const lacking = lackingOf(counts)
    if (lacking !== undefined) {
      notCounted += 1
      const allowed = ALWAYS_ALLOWED + options.count / HISTORIES_PER_LACKING_ONE
      if (notCounted > allowed) throw new HistoryFailure(history, history.steps.length, lacking)
      continue
    }
    for (const name of Object.keys(total) as (keyof HistoryCounts)[]) total[name] += counts[name]
    options.onProgress?.(total.histories, total)
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
      `(${String(counts.batches)} batches, ${String(counts.renames)} renames, ${String(counts.subtrees)} on subtrees, ${String(counts.reads)} reads)`,
    `${String(counts.compactions)} compactions, ${String(counts.vacuums)} vacuums`,
    `${String(counts.views)} views, read ${String(counts.viewReads)} times; ` +
      `${String(counts.snapshots)} snapshots taken or dropped, read ${String(counts.snapshotReads)} times`,
    `reopens after: ${String(counts.kills)} kills, ${String(counts.powerLosses)} power losses, ` +
      `${String(counts.closes)} closes; ${String(counts.crashesAtACall)} of them in the middle of a call, ` +
      `and ${String(counts.cutOffOpenings)} openings cut off`,
    `${String(counts.spills)} spills, ${String(counts.checkpoints)} checkpoints, ` +
      `${String(counts.segmentSwitches)} segment switches, ${String(counts.ioCalls)} calls of the Io`,
  ].join('\n')
}
