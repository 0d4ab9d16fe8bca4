import { HoltError } from '@holt/errors'

/** What the handles of one tree share. */
export interface TreeState {
  readonly name: string
  dropped: boolean
}

/** Throws `HOLT_TREE_DROPPED`. */
export function assertThere(state: TreeState): void {
  if (!state.dropped) return
  throw new HoltError(
    'HOLT_TREE_DROPPED',
    `tree '${state.name}' was dropped; db.tree() makes a new one of that name`,
  )
}
