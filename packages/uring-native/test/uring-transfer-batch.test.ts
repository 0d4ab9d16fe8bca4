import { isHoltError } from '@holt/errors'
import { describe, expect, it } from 'vitest'

import type { Transfer } from '../src/io.js'
import { orderWrites } from '../src/transfer-batch.js'

const at = (offsetBytes: number, lengthBytes: number, fill = 0): Transfer => ({
  offsetBytes,
  bytes: new Uint8Array(lengthBytes).fill(fill),
})

describe('orderWrites', () => {
  it('A17: sorts by offset', () => {
    const [a, b, c] = [at(8192, 10), at(0, 10), at(4096, 10)]
    expect(orderWrites([a, b, c])).toEqual([b, c, a])
  })

  it('A17: keeps only the last of several at an equal offset, even when an earlier one is longer', () => {
    const long = at(4096, 8192, 1)
    const short = at(4096, 512, 2)
    const beyond = at(8192, 512, 3)
    const ordered = orderWrites([long, beyond, short])
    expect(ordered).toHaveLength(2)
    expect(ordered[0]).toBe(short)
    expect(ordered[1]).toBe(beyond)
  })

  it('leaves empty transfers out and lets them hide nothing', () => {
    const full = at(0, 16)
    expect(orderWrites([full, at(0, 0), at(4, 0)])).toEqual([full])
    expect(orderWrites([])).toEqual([])
  })

  it('A17: accepts writes that touch and refuses writes that overlap by one byte', () => {
    expect(orderWrites([at(0, 512), at(512, 512)])).toHaveLength(2)
    const overlapping = (): unknown => orderWrites([at(511, 512), at(0, 512)])
    expect(overlapping).toThrow(/overlap: \[0, 512\) and one at 511/)
    try {
      overlapping()
    } catch (error) {
      expect(isHoltError(error, 'HOLT_INVALID_ARGUMENT')).toBe(true)
    }
  })

  it('does not change the array it is given', () => {
    const given = [at(1, 1), at(0, 1)]
    const copy = [...given]
    orderWrites(given)
    expect(given).toEqual(copy)
  })
})
