import { describe, expect, it } from 'vitest'
import { FRAME_BYTES, PAGE_BYTES, USED_UNITS, usedPages } from '../src/index.js'

describe('pages of a frame in use', () => {
  it.each([
    [1, 1],
    [512, 1],
    [513, 2],
    [1_024, 2],
    [65_535, 128],
    [65_536, 128],
    // Nothing said, and nothing that could be true: all of them.
    [0, 128],
    [65_537, 128],
    [0xffff_ffff, 128],
    [0x8000_0000, 128],
  ])('%d units are in %d pages', (units, pages) => {
    const frame = new Uint8Array(FRAME_BYTES)
    new DataView(frame.buffer).setUint32(USED_UNITS, units, true)
    expect(usedPages(frame)).toBe(pages)
    expect(usedPages(frame.subarray(0, PAGE_BYTES))).toBe(pages)
  })
})
