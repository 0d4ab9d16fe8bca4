import type { MaybePromise } from './store.js'

/** The delimiter, and the least text above every key that begins with what stands before it. */
const DELIMITER = '/'
const AFTER_DELIMITER = '0'

/** One step of a directory listing: what stands there, and where to look for the next. */
interface Step {
  readonly name: string
  readonly nextFrom: string
}

function stepAt(key: string | undefined, prefix: string): Step | undefined {
  if (!key?.startsWith(prefix)) return undefined
  const end = key.indexOf(DELIMITER, prefix.length)
  if (end === -1) return { name: key, nextFrom: `${key}\0` }
  return { name: key.slice(0, end + 1), nextFrom: key.slice(0, end) + AFTER_DELIMITER }
}

/** A directory listing by one seek per entry, for engines that know no delimiter. */
export function listBySeeks(prefix: string, seek: (from: string) => string | undefined): readonly string[] {
  const names: string[] = []
  for (let step = stepAt(seek(prefix), prefix); step !== undefined;) {
    names.push(step.name)
    step = stepAt(seek(step.nextFrom), prefix)
  }
  return names
}

/** The same for engines whose seeks are promises. */
export async function listByAsyncSeeks(
  prefix: string,
  seek: (from: string) => MaybePromise<string | undefined>,
): Promise<readonly string[]> {
  const names: string[] = []
  for (let step = stepAt(await seek(prefix), prefix); step !== undefined;) {
    names.push(step.name)
    step = stepAt(await seek(step.nextFrom), prefix)
  }
  return names
}
