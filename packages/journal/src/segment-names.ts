/**
 * Names of the journal's files. A name tells a file's state, and changes only after the content is stable:
 *
 * - `journal-creating.wal`: being made; means nothing, and is made anew.
 * - `journal-spare.wal`: allocated and written to its end, but no part of the log.
 * - `journal-<number>.wal`: complete, with a valid header of that number. One without is damage, not a leftover.
 */
export const CREATING_NAME = 'journal-creating.wal'
export const SPARE_NAME = 'journal-spare.wal'

const SEGMENT_PATTERN = /^journal-(\d{12})\.wal$/

export function segmentName(number: number): string {
  return `journal-${String(number).padStart(12, '0')}.wal`
}

/** The number in a segment's name; undefined for every other name. */
export function segmentNumberOf(name: string): number | undefined {
  const digits = SEGMENT_PATTERN.exec(name)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** Whether a file of that name belongs to a journal. */
export function isJournalFileName(name: string): boolean {
  return name === CREATING_NAME || name === SPARE_NAME || segmentNumberOf(name) !== undefined
}

export function journalPath(directory: string, name: string): string {
  return directory.endsWith('/') ? directory + name : `${directory}/${name}`
}
