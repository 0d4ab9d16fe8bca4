import { HoltError } from '@holt/errors'

import type { Transfer } from './io.js'

/**
 * The writes of a batch as they go to the file: ascending by offset, and of several at an equal offset only the last in
 * the caller's order. Empty transfers move nothing and are left out, whatever stands beside them.
 *
 * ```
 *   given    [ 8192: A ]  [ 0: B ]  [ 8192: C ]  [ 4096: D ]
 *   ordered  [ 0: B ]  [ 4096: D ]  [ 8192: C ]
 * ```
 *
 * @throws `HOLT_INVALID_ARGUMENT` when two that remain overlap: outstanding together, either could land last.
 */
export function orderWrites(transfers: readonly Transfer[]): Transfer[] {
  const sorted: Transfer[] = []
  let ascending = true
  for (const transfer of transfers) {
    if (transfer.bytes.byteLength === 0) continue
    const previous = sorted.at(-1)
    if (previous !== undefined && previous.offsetBytes >= transfer.offsetBytes) ascending = false
    sorted.push(transfer)
  }
  // Array.prototype.sort is stable, so of equal offsets the caller's last one stays last.
  if (!ascending) sorted.sort((a, b) => a.offsetBytes - b.offsetBytes)

  const ordered: Transfer[] = []
  for (const transfer of sorted) {
    if (ordered.at(-1)?.offsetBytes === transfer.offsetBytes) ordered.pop()
    ordered.push(transfer)
  }
  for (let i = 1; i < ordered.length; i++) {
    const before = ordered[i - 1]
    const after = ordered[i]
    const end = before.offsetBytes + before.bytes.byteLength
    if (end > after.offsetBytes) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `writes of one batch overlap: [${String(before.offsetBytes)}, ${String(end)}) and one at ` +
          `${String(after.offsetBytes)} of ${String(after.bytes.byteLength)} bytes`,
      )
    }
  }
  return ordered
}
