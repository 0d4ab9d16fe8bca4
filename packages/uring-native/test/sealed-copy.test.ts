import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { crc32cJs } from '../src/crc32c-js.js'
import type { Mapping } from '../src/io.js'
import { MOST_STAGED_BYTES, SEALED_COPY_SOURCES, type SealedCopy, STAGED_AT } from '../src/sealed-copy.js'
import { UringIo } from '../src/uring-io.js'

import { addonForTests, inDirectory, unavailable } from './uring-support.js'

const FILE_BYTES = 1 << 20
const HEAD_SALT = 0xfeed_f00d
const BODY_SALT = 0x1234_5678

interface Scene {
  readonly copy: SealedCopy
  readonly mapping: Mapping
  readonly path: string
}

async function withMapping(body: (scene: Scene) => Promise<void> | void, portable = false): Promise<void> {
  await inDirectory(async (directory) => {
    const io = UringIo.create()
    try {
      const path = join(directory, 'file')
      const file = await io.open(path, { access: 'readwrite', create: true })
      await io.allocate(file, 0, FILE_BYTES)
      const mapping = await io.map(file, FILE_BYTES)
      const copy = addonForTests().createSealedCopy(portable)
      if (mapping === undefined || copy === undefined) throw new Error('no mapping')
      expect(copy.aim(mapping.bytes, HEAD_SALT, BODY_SALT)).toBe(true)
      await body({ copy, mapping, path })
      await mapping.unmap()
    } finally {
      await io.dispose()
    }
  })
}

interface Part {
  readonly source: number
  readonly atBytes: number
  readonly bytes: number
}
const NOTHING: Part = { source: 0, atBytes: 0, bytes: 0 }

function order(copy: SealedCopy, offset: number, total: number, staged: number, a: Part, b: Part): void {
  const words = new Uint32Array(copy.staging, 0, 9)
  words.set([offset, total, staged, a.source, a.atBytes, a.bytes, b.source, b.atBytes, b.bytes])
  copy.copy()
}

const padded = (bytes: number): number => (bytes + 3) & ~3

/** What is to be written, put together byte by byte. */
function expected(
  staged: Uint8Array,
  offset: number,
  total: number,
  parts: readonly Uint8Array[],
): Uint8Array {
  const record = new Uint8Array(total)
  const view = new DataView(record.buffer)
  record.set(staged.subarray(0, 24))
  view.setUint32(24, crc32cJs(record, 0, 24, (HEAD_SALT ^ offset) >>> 0), true)
  let at = 28
  for (const part of parts) {
    record.set(part, at)
    at += padded(part.length)
  }
  view.setUint32(total - 4, crc32cJs(record, 28, total - 32, (BODY_SALT ^ offset) >>> 0), true)
  return record
}

let state = 0x2545_f491
function random(below: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % below
}

describe.skipIf(unavailable)('a sealed copy', () => {
  for (const portable of [false, true]) {
    test(`writes all parts with their checksums, and nothing else, ${portable ? 'by tables' : 'by instructions'}`, async () => {
      await withMapping(({ copy, mapping, path }) => {
        const sources = [5, 2, 0].map((number) => {
          const words = new Uint32Array(new (number === 2 ? SharedArrayBuffer : ArrayBuffer)(2_048))
          for (let i = 0; i < words.length; i++) words[i] = random(2 ** 32)
          expect(copy.setSource(number, words)).toBe(true)
          return { number, bytes: new Uint8Array(words.buffer) }
        })
        const staged = new Uint8Array(copy.staging, STAGED_AT)
        for (let round = 0; round < 1_000; round++) {
          for (let i = 0; i < staged.length; i++) staged[i] = random(256)
          const stagedBytes = random(round % 3 === 0 ? 900 : 20)
          const [a, b] = [0, 1].map((): Part => {
            const bytes = random(4) === 0 ? 0 : random(round % 2 === 0 ? 70 : 1_000)
            return { source: sources[random(3)].number, atBytes: random(2_048 - bytes), bytes }
          })
          const parts = [
            staged.slice(28, 28 + stagedBytes),
            ...[a, b].map(({ source, atBytes, bytes }) => {
              const found = sources.find(({ number }) => number === source)?.bytes
              return found?.slice(atBytes, atBytes + bytes) ?? new Uint8Array(0)
            }),
          ]
          const least = 32 + parts.reduce((sum, part) => sum + padded(part.length), 0)
          const total = ((least + 7) & ~7) + 8 * random(3)
          const offset = 8 * random((FILE_BYTES - total) / 8)
          const around = mapping.bytes.subarray(Math.max(0, offset - 64), offset + total + 64)
          around.fill(0xaa)
          const before = around.slice()
          order(copy, offset, total, stagedBytes, a, b)
          before.set(expected(staged, offset, total, parts), Math.min(64, offset))
          expect(Buffer.compare(around, before)).toBe(0)
        }
        expect(readFileSync(path).equals(mapping.bytes)).toBe(true)
      }, portable)
    })
  }

  test('takes the longest record that can be staged', async () => {
    await withMapping(({ copy, mapping }) => {
      const staged = new Uint8Array(copy.staging, STAGED_AT).fill(7)
      expect(staged.length).toBe(MOST_STAGED_BYTES)
      order(copy, 4_096, MOST_STAGED_BYTES, MOST_STAGED_BYTES - 32, NOTHING, NOTHING)
      const part = staged.slice(28, MOST_STAGED_BYTES - 4)
      expect(mapping.bytes.slice(4_096, 4_096 + MOST_STAGED_BYTES)).toEqual(
        expected(staged, 4_096, MOST_STAGED_BYTES, [part]),
      )
    })
  })

  test('refuses what would leave target, staging area or source, and copies nothing then', async () => {
    await withMapping(({ copy, mapping }) => {
      copy.setSource(1, new Uint32Array(16))
      const half = { source: 1, atBytes: 32, bytes: 32 }
      const wrong: [number, number, number, Part, Part][] = [
        [FILE_BYTES - 56, 64, 8, NOTHING, NOTHING],
        [2 ** 32 - 8, 64, 8, NOTHING, NOTHING],
        [0, 24, 0, NOTHING, NOTHING],
        [0, 60, 8, NOTHING, NOTHING],
        [0, 2 ** 32 - 8, 8, NOTHING, NOTHING],
        // The parts are more than the record holds.
        [0, 64, 36, NOTHING, NOTHING],
        [0, 64, 4, half, NOTHING],
        [0, 96, 4, half, half],
        [0, 64, 2 ** 32 - 1, NOTHING, NOTHING],
        // Longer than what can be staged.
        [0, 2_048, 1_000, NOTHING, NOTHING],
        // Beyond the source, or from none.
        [0, 256, 4, { source: 1, atBytes: 33, bytes: 32 }, NOTHING],
        [0, 256, 4, NOTHING, { source: 1, atBytes: 0, bytes: 65 }],
        [0, 256, 4, { source: 1, atBytes: 2 ** 32 - 8, bytes: 16 }, NOTHING],
        [0, 256, 4, { source: 2, atBytes: 0, bytes: 1 }, NOTHING],
        [0, 256, 4, { source: SEALED_COPY_SOURCES, atBytes: 0, bytes: 1 }, NOTHING],
      ]
      for (const [offset, total, staged, a, b] of wrong) {
        expect(() => {
          order(copy, offset, total, staged, a, b)
        }).toThrow(RangeError)
      }
      expect(mapping.bytes.every((byte) => byte === 0)).toBe(true)
      order(copy, FILE_BYTES - 64, 64, 8, NOTHING, NOTHING)
      order(copy, 0, 96, 0, half, half)
    })
  })

  test('is aimed at whole mappings only', async () => {
    await withMapping(({ copy, mapping }) => {
      expect(copy.aim(new Uint8Array(64), 1, 2)).toBe(false)
      expect(copy.aim(mapping.bytes.subarray(4_096), 1, 2)).toBe(false)
      // Still at the one before.
      order(copy, 8, 64, 8, NOTHING, NOTHING)
      expect(mapping.bytes[8 + 27]).not.toBe(0)
      expect(() => copy.aim('no bytes' as never, 1, 2)).toThrow(TypeError)
      expect(() => copy.setSource(0, new Uint8Array(8) as never)).toThrow(TypeError)
      expect(() => copy.setSource(SEALED_COPY_SOURCES, new Uint32Array(8))).toThrow(TypeError)
    })
  })

  test('keeps memory that is transferred away, and the file mapped, until it lets go', async () => {
    await withMapping(async ({ copy, mapping, path }) => {
      const words = new Uint32Array([0x6161_6161, 0x6262_6262])
      copy.setSource(0, words)
      structuredClone(words.buffer, { transfer: [words.buffer] })
      await mapping.unmap()
      const mapped = (): boolean => readFileSync('/proc/self/maps', 'latin1').includes(path)
      expect(mapped()).toBe(true)
      order(copy, 0, 40, 0, { source: 0, atBytes: 0, bytes: 8 }, NOTHING)
      expect(readFileSync(path).toString('latin1', 28, 36)).toBe('aaaabbbb')
      copy.letGo()
      expect(mapped()).toBe(false)
      expect(() => {
        copy.copy()
      }).toThrow(RangeError)
    })
  })
})
