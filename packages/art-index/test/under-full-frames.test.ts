import { expect, it } from 'vitest'
import { MIN_USABLE_BYTES } from '../src/index.js'
import { MAX_ENTRIES } from '../src/layout.js'
import { LiveViews } from '../src/live-views.js'
import { Tree } from '../src/tree.js'
import { UnderFullFrames } from '../src/under-full-frames.js'
import { ModelledIndex, random, utf8 } from './modelled-index.js'

it('a frame that is left out gives its place to the last one, with all that is known of it', () => {
  const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 300 })
  const next = random(5)
  for (let i = 0; i < 1_200; i++) {
    model.put(Uint8Array.of(next() * 256, next() * 256, i, i >>> 8), 50)
    model.put(utf8(`some/long/directory/${String(i % 9)}/${String(i)}`), 50)
  }
  const { source, index } = model
  const tree = new Tree(source, index.rootId, MIN_USABLE_BYTES, 0x2f, new LiveViews(1))
  const known = source.ids.map((id) => {
    const alone = new UnderFullFrames()
    alone.add(tree, id)
    return { id, entries: alone.entryCounts[0], units: [...alone.entryUnits.subarray(0, MAX_ENTRIES)] }
  })
  const several = known.find(({ entries }) => entries > 1)
  const single = known.find(({ entries, id }) => entries === 1 && id !== index.rootId)
  if (several === undefined || single === undefined) throw new Error('the tree has not both kinds of frames')
  const frames = new UnderFullFrames()
  frames.add(tree, single.id)
  frames.add(tree, several.id)
  frames.remove(0)
  expect(frames.count).toBe(1)
  expect(frames.positionOf(single.id)).toBe(-1)
  expect(frames.positionOf(several.id)).toBe(0)
  expect(frames.entryCounts[0]).toBe(several.entries)
  expect([...frames.entryUnits.subarray(0, MAX_ENTRIES)]).toEqual(several.units)
  const alone = new UnderFullFrames()
  alone.add(tree, several.id)
  expect([frames.views[0], frames.bases[0]]).toEqual([alone.views[0], alone.bases[0]])
})
