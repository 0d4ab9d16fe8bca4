import { describe, expect, test } from 'vitest'

import type { TreeWrite } from '../../src/history.js'
import { HistoryModel } from '../../src/history-model.js'
import type { FoundRecord, FoundTrees } from '../../src/history-model.js'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

function put(key: string, value: string, tree: 0 | 1 = 0): TreeWrite {
  return { tree, operation: { kind: 'put', key: bytes(key), value: bytes(value) } }
}

/** `k=v@version` for each record of the first tree. */
function found(...records: string[]): FoundTrees {
  const parse = (record: string): FoundRecord => {
    const [, key = '', value = '', version = '0'] = /^(.*)=(.*)@(.*)$/.exec(record) ?? []
    return { key: bytes(key), value: bytes(value), version: Number(version) }
  }
  return [records.map(parse), []]
}

/** Three writes, of which one is stable and two are acknowledged. */
function model(): HistoryModel {
  const made = new HistoryModel()
  made.apply([put('a', '1')])
  made.apply([put('b', '2')])
  made.apply([put('c', '3')])
  made.stabilise(1)
  made.acknowledge(2)
  return made
}

describe('after a kill', () => {
  test('every acknowledged write must be there; what was not acknowledged may', () => {
    expect(model().recover(found('a=1@5', 'b=2@6'), 'kill')).toBeUndefined()
    expect(model().recover(found('a=1@5', 'b=2@6', 'c=3@7'), 'kill')).toBeUndefined()
    expect(model().recover(found('a=1@5'), 'kill')).toContain('it is the earlier state 1')
  })

  test('nothing may be there that leaves out an earlier write', () => {
    expect(model().recover(found('a=1@5', 'c=3@7'), 'kill')).toContain('shows none of the states')
  })
})

describe('after a power loss', () => {
  test('every stable write must be there; what was only acknowledged may', () => {
    expect(model().recover(found('a=1@5'), 'power-loss')).toBeUndefined()
    expect(model().recover(found(), 'power-loss')).toContain('1 missing')
  })

  test('what was found is what later states build on', () => {
    const made = model()
    made.recover(found('a=1@5'), 'power-loss')
    made.apply([put('d', '4')])
    expect(made.recover(found('a=1@5', 'd=4@9'), 'kill')).toBeUndefined()
    expect(made.compare(found('a=1@5', 'b=2@6', 'd=4@9'))).toContain('1 too many')
  })
})

test('after a close everything must be there', () => {
  expect(model().recover(found('a=1@5', 'b=2@6'), 'close')).toContain('states 3 … 3')
})

test('a batch is there whole or not at all', () => {
  const made = new HistoryModel()
  made.apply([put('a', '1'), put('b', '2')])
  expect(made.recover(found('a=1@5'), 'power-loss')).toContain('shows none of the states')
  expect(made.recover(found('a=1@5', 'b=2@5'), 'power-loss')).toBeUndefined()
})

test('a batch whose condition fails changes nothing', () => {
  const made = model()
  const absent: TreeWrite = {
    tree: 0,
    operation: { kind: 'putIfAbsent', key: bytes('a'), value: bytes('9') },
  }
  expect(made.apply([put('z', '9'), absent])).toEqual({ kind: 'failed', index: 1, reason: 'exists' })
  expect(made.compare(found('a=1@5', 'b=2@6', 'c=3@7'))).toBeUndefined()
})

describe('a snapshot', () => {
  test('must show what it showed, and be there and gone with its state', () => {
    const made = model()
    expect(made.takeSnapshot('s')).toEqual({ kind: 'changed', state: 4 })
    expect(made.takeSnapshot('s')).toMatchObject({ kind: 'failed', reason: 'exists' })
    expect(made.dropSnapshot('x')).toMatchObject({ kind: 'failed', reason: 'not-found' })
    made.apply([put('a', '9')])
    made.dropSnapshot('s')
    made.stabilise(5)
    const trees = found('a=9@9', 'b=2@6', 'c=3@7')
    const shown = found('a=1@5', 'b=2@6', 'c=3@7')
    expect(made.recover(trees, 'power-loss', new Map([['s', trees]]))).toContain('snapshot s, tree 0')
    expect(made.recover(trees, 'power-loss', new Map([['t', shown]]))).toContain('snapshots t instead of')
    expect(made.recover(trees, 'close', new Map([['s', shown]]))).toContain('snapshots s instead of none')
    expect(made.recover(trees, 'power-loss', new Map([['s', shown]]))).toBeUndefined()
    expect(made.snapshots).toEqual(['s'])
    expect(made.snapshot('s')?.[0].size).toBe(3)
    made.dropSnapshot('s')
    expect(made.recover(trees, 'power-loss')).toBeUndefined()
  })
})

describe('versions', () => {
  test('of later writes must be larger, of one batch the same', () => {
    expect(model().compare(found('a=1@5', 'b=2@4', 'c=3@7'))).toContain('version of <62>')
    const made = new HistoryModel()
    made.apply([put('a', '1'), put('b', '2')])
    expect(made.compare(found('a=1@5', 'b=2@6'))).toContain('but it was 5 before')
  })

  test('of writes that a power loss took must not be used again', () => {
    const made = model()
    expect(made.compare(found('a=1@5', 'b=2@6', 'c=3@7'))).toBeUndefined()
    expect(made.recover(found('a=1@5'), 'power-loss')).toBeUndefined()
    made.apply([put('d', '4')])
    expect(made.compare(found('a=1@5', 'd=4@6'))).toContain('an earlier write had 7 already')
    expect(made.compare(found('a=1@5', 'd=4@8'))).toBeUndefined()
  })

  test('must not change over a reopening', () => {
    const made = model()
    made.compare(found('a=1@5', 'b=2@6', 'c=3@7'))
    expect(made.recover(found('a=1@5', 'b=2@6', 'c=3@8'), 'kill')).toContain('but it was 7 before')
  })
})

test('of states that differ by their versions only, the one is taken that these show', () => {
  const made = new HistoryModel()
  made.apply([put('a', '')])
  made.apply([put('b', '2')])
  made.apply([put('a', '')])
  made.stabilise(2)
  // The second write to `a` is lost: its version is older than that of `b`.
  expect(made.recover(found('a=@5', 'b=2@6'), 'power-loss')).toBeUndefined()
  expect(made.applied).toBe(2)
  made.apply([put('a', '')])
  expect(made.recover(found('a=@8', 'b=2@6'), 'kill')).toBeUndefined()
  expect(made.applied).toBe(3)
})
