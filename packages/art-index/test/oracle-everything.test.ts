import { describe, expect, it } from 'vitest'
import { ArtIndex } from '../src/index.js'
import { OPERATIONS_PER_HISTORY, playGenerated } from './history-generation.js'
import type { IndexHistory } from './history-operation.js'
import { HistoryDifference } from './history-generation.js'
import { type HistoryCounts, noCounts } from './history-player.js'
import { describeHistory, playHistory, shrinkHistory } from './history-shrinking.js'

/** `npm run soak -- index` plays more of them, from other seeds. */
const HISTORIES = 100_000 / OPERATIONS_PER_HISTORY

describe('histories of everything an index can do', () => {
  it(`show what an ordered map shows (${String(HISTORIES)} of ${String(OPERATIONS_PER_HISTORY)} operations)`, () => {
    const total = noCounts()
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const { counts } = playGenerated(seed)
      for (const name of Object.keys(total) as (keyof HistoryCounts)[]) total[name] += counts[name]
    }
    expect(total.operations).toBe(HISTORIES * OPERATIONS_PER_HISTORY)
    // None of them is idle.
    expect(total.mostFrames).toBeGreaterThan(HISTORIES * 10)
    expect(total.crossings).toBeGreaterThan(HISTORIES * 10)
    expect(total.largeValues).toBeGreaterThan(HISTORIES * 2)
    expect(total.framesMerged).toBeGreaterThan(HISTORIES * 5)
    expect(total.prefixesDeleted).toBeGreaterThan(HISTORIES * 5)
    expect(total.prefixesMoved).toBeGreaterThan(HISTORIES * 10)
    expect(total.framesGivenBack).toBeGreaterThan(HISTORIES)
    expect(total.absences).toBeGreaterThan(HISTORIES * 50)
    expect(total.viewsTaken).toBeGreaterThan(HISTORIES * 10)
    expect(total.viewsRestored).toBeGreaterThan(HISTORIES)
    expect(total.mostHeld).toBeGreaterThan(HISTORIES * 5)
    expect(total.entriesAfterChanges).toBeGreaterThan(HISTORIES * 100)
  }, 300_000)
})

describe('a history that fails', () => {
  /** An index that forgets a delete of a key with a NUL in it. */
  function withFaultyDelete<T>(run: () => T): T {
    const { delete: whole } = ArtIndex.prototype
    ArtIndex.prototype.delete = function (keyLength) {
      return this.key.subarray(0, keyLength).includes(0) || whole.call(this, keyLength)
    }
    try {
      return run()
    } finally {
      ArtIndex.prototype.delete = whole
    }
  }

  it('is shrunk to the operations that matter, and names its seed', () => {
    withFaultyDelete(() => {
      let failed: IndexHistory | undefined
      for (let seed = 1; failed === undefined && seed < 20; seed++) {
        try {
          playGenerated(seed)
        } catch (error) {
          if (!(error instanceof HistoryDifference)) throw error
          expect(error.message).toContain(`seed ${String(seed)}, operation `)
          failed = error.history
        }
      }
      if (failed === undefined) throw new Error('no history noticed the fault')
      expect(playHistory(failed)).toBeDefined()
      const small = shrinkHistory(failed)
      expect(playHistory(small)).toBeDefined()
      expect(small.operations.length).toBeLessThanOrEqual(2)
      expect(describeHistory(small)).toMatch(/^history of seed \d+/)
    })
  })
})
