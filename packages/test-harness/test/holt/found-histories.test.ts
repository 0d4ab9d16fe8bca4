import { describe, test } from 'vitest'

import { generateHistory, runHistory } from '../../src/index.js'

/** Histories that showed a defect once, each with its story. */
describe('a history that went wrong once goes right', () => {
  test('replay where almost all slots are dirty: loading one frame of a path drove out another of it', async () => {
    await runHistory(
      generateHistory(856, undefined, {
        subtrees: false,
        largeValues: false,
        upkeep: false,
        views: false,
        snapshots: false,
      }),
    )
  })

  test('a checkpoint asked for while one is under way: it resolved before that one was durable', async () => {
    for (const seed of [20_268, 20_348, 20_383])
      await runHistory(
        generateHistory(seed, undefined, {
          subtrees: false,
          largeValues: false,
          upkeep: false,
          views: false,
          snapshots: false,
        }),
      )
  })
})
