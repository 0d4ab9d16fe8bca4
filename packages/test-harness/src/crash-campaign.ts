import fc from 'fast-check'

import { type CrashCourseReport, runCrashCourse } from './crash-course.js'
import { crashHistories, type CrashHistory } from './crash-history.js'

/** The history that belongs to a seed. */
export function crashHistoryOf(seed: number): CrashHistory {
  return fc.sample(crashHistories, { seed, numRuns: 1 })[0]
}

/**
 * Plays the history of a seed, looks at every disk that a crash could leave, and plays it once more to see that it makes the
 * same calls and leaves the same.
 *
 * @throws Error that names the seed, and what was wrong
 */
export async function runCrashSeed(
  seed: number,
  history = crashHistoryOf(seed),
  powerLossesPerCall?: number,
): Promise<CrashCourseReport> {
  let report: CrashCourseReport
  try {
    report = await runCrashCourse(history, { seed, powerLossesPerCall })
  } catch (cause) {
    throw new Error(`seed ${String(seed)}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
  }
  const again = await runCrashCourse(history, { seed, look: false })
  if (again.trace !== report.trace)
    throw new Error(`seed ${String(seed)}: the second time it went another way, so it cannot be repeated`)
  return report
}

/** The shortest history found that fails as that of the seed does, as text; undefined if none fails. */
export async function shrinkCrashSeed(
  seed: number,
  powerLossesPerCall?: number,
): Promise<string | undefined> {
  const found = await fc.check(
    fc.asyncProperty(crashHistories, async (history) => {
      await runCrashCourse(history, { seed, powerLossesPerCall })
    }),
    { seed, numRuns: 1, endOnFailure: false },
  )
  if (!found.failed || found.counterexample === null) return undefined
  const error =
    found.errorInstance instanceof Error ? found.errorInstance.message : String(found.errorInstance)
  return `${JSON.stringify(found.counterexample[0])}\n${error}`
}
