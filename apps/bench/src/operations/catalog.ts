import type { Operation } from './operation.js'
import { get, getAbsent, getReused, list, listDirectory, listKeys, visit } from './reads.js'
import {
  createDelete,
  durablePut,
  durablePutTogether,
  mix,
  put,
  putBatch,
  putTogether,
  rename,
} from './writes.js'

/** What is done to a filled store, in the order of the table. */
export const OPERATIONS: readonly Operation[] = [
  ...[get, getReused, getAbsent],
  ...[put, putTogether, putBatch],
  ...[list, listKeys, visit, listDirectory],
  ...[createDelete, rename, mix],
]

/** What is done to a store that acknowledges only what survives a power loss. */
export const DURABLE_OPERATIONS: readonly Operation[] = [durablePut, durablePutTogether]

export function operationNamed(name: string): Operation {
  const operation = [...OPERATIONS, ...DURABLE_OPERATIONS].find((candidate) => candidate.name === name)
  if (operation === undefined) throw new Error(`no operation is called ${name}`)
  return operation
}
