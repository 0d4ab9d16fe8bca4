import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { conformance } from '../src/conformance.js'
import { FsIo } from '../src/fs-io.js'
import type { Io, Transfer } from '../src/io.js'

/** Canaries: an Io with one defect, and the test of the suite that must see it. */
interface Canary {
  readonly defect: string
  /** What of a sound Io is done otherwise. */
  readonly spoil: (sound: Io) => Partial<Io>
  readonly seenBy: string
}

const CANARIES: readonly Canary[] = [
  {
    defect: 'reads fill up with zeros behind the end',
    spoil: (sound) => ({
      read: (file, offsetBytes, into) => sound.read(file, offsetBytes, into).catch(() => undefined),
    }),
    seenBy: 'read and write: a read that meets the end of the file is HOLT_SHORT_TRANSFER',
  },
  {
    defect: 'writes lose their last byte',
    spoil: (sound) => ({
      write: (file, offsetBytes, bytes) => sound.write(file, offsetBytes, bytes.subarray(0, -1)),
    }),
    seenBy: 'read and write move exactly the bytes asked for, at any offset and length',
  },
  {
    defect: 'of equal offsets the first wins',
    spoil: (sound) => ({ writeMany: (file, parts) => sound.writeMany(file, [...parts].reverse()) }),
    seenBy: 'of several writes at an equal offset the last of the list wins',
  },
  {
    defect: 'overlapping writes are taken',
    spoil: (sound) => ({
      writeMany: async (file, parts) => {
        for (const part of parts) await sound.write(file, part.offsetBytes, part.bytes)
      },
    }),
    seenBy: 'writes that overlap at unequal offsets are refused, and nothing is written',
  },
  {
    defect: 'a batch reports its first error at once',
    spoil: (sound) => ({
      readMany: async (file, parts) => {
        const { sizeBytes } = await sound.stat(file)
        const isOver = ({ offsetBytes, bytes }: Transfer): boolean =>
          offsetBytes + bytes.byteLength > sizeBytes
        const read = ({ offsetBytes, bytes }: Transfer): Promise<void> => sound.read(file, offsetBytes, bytes)
        const failing = Promise.all(parts.filter(isOver).map(read))
        // Those that can succeed start only after the error was reported.
        const others = parts
          .filter((part) => !isOver(part))
          .map(async (part) => {
            await failing.catch(() => new Promise(setImmediate))
            await read(part)
          })
        await Promise.all([failing, ...others])
      },
    }),
    seenBy: 'readMany with a transfer over the end is HOLT_SHORT_TRANSFER, and then lets go of all memory',
  },
  {
    defect: 'writeManyAndSync does not sync',
    spoil: (sound) => ({ writeManyAndSync: (file, parts) => sound.writeMany(file, parts) }),
    seenBy: 'writeManyAndSync writes all and syncs once',
  },
  {
    defect: 'writeManyAndSync syncs after a failed write',
    spoil: (sound) => ({
      writeManyAndSync: (file, parts) => sound.writeMany(file, parts).finally(() => sound.sync(file)),
    }),
    seenBy: 'writeManyAndSync starts no sync after a failed write',
  },
  {
    defect: 'a cancelled sync happens',
    spoil: (sound) => ({
      syncAfter: (file) => ({ done: sound.sync(file), cancel: () => undefined }),
    }),
    seenBy: 'a scheduled sync that is cancelled resolves without a sync',
  },
  {
    defect: 'bad arguments are thrown, not rejected',
    spoil: (sound) => ({
      remove: (path) => {
        if (path === '') throw new Error('empty')
        return sound.remove(path)
      },
    }),
    seenBy: 'bad paths are HOLT_INVALID_ARGUMENT wherever a path is taken',
  },
  {
    defect: 'closing twice is fine',
    spoil: (sound) => ({ close: (file) => sound.close(file).catch(() => undefined) }),
    seenBy: 'closing twice is HOLT_CLOSED, also while the first close is under way',
  },
  {
    defect: 'link replaces',
    spoil: (sound) => ({
      link: async (existing, to) => {
        await sound.remove(to).catch(() => undefined)
        await sound.link(existing, to)
      },
    }),
    seenBy: 'link to a name that is there is HOLT_EXISTS and leaves it',
  },
  {
    defect: 'allocate reserves nothing',
    spoil: (sound) => ({
      allocate: (file, offsetBytes, lengthBytes) => sound.truncate(file, offsetBytes + lengthBytes),
    }),
    seenBy: 'allocate extends the file over the range with zeros and reserves the space',
  },
  {
    defect: 'allocate clears what is there',
    spoil: (sound) => ({
      allocate: (file, offsetBytes, lengthBytes) =>
        sound.write(file, offsetBytes, new Uint8Array(lengthBytes)),
    }),
    seenBy: 'allocate keeps the bytes that are there',
  },
  {
    defect: 'dispose leaves the Io usable',
    spoil: () => ({ dispose: () => Promise.resolve() }),
    seenBy: 'every use of a disposed Io is HOLT_CLOSED',
  },
  {
    defect: 'the queue looks idle',
    spoil: (sound) => ({
      get counters() {
        const { queue, ...rest } = sound.counters
        return queue === undefined ? rest : { ...rest, queue: { ...queue, outstanding: 0 } }
      },
    }),
    seenBy: 'the counters tell what is under way and how long it took',
  },
  {
    defect: 'nothing takes any time',
    spoil: (sound) => ({
      get counters() {
        const { latency, ...rest } = sound.counters
        return latency === undefined ? rest : { ...rest, latency: { ...latency, count: 0 } }
      },
    }),
    seenBy: 'the counters tell what is under way and how long it took',
  },
  {
    defect: 'processes of other machines are called gone',
    spoil: () => ({ isProcessGone: () => true }),
    seenBy: 'a process of another or an unknown machine or namespace is never called gone',
  },
]

/** The sound Io with some of its methods replaced. */
function spoiled(sound: FsIo, canary: Canary): Io {
  const replaced = canary.spoil(sound)
  return new Proxy<Io>(sound, {
    get: (target, name: keyof Io) => {
      const member = replaced[name] ?? target[name]
      // Methods look into their instance, which must be the sound one.
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

/** One test of the suite, declared by a runner that only collects. */
function collected(title: string, makeIo: () => Io, afterwards: () => Promise<void>): () => Promise<void> {
  const tests = new Map<string, () => Promise<void>>()
  conformance({
    test: (name, body) => {
      assert.ok(!tests.has(name), `two tests are called '${name}'`)
      tests.set(name, body)
    },
    supports: { queueCounters: true },
    factory: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'holt-canary-'))
      const cleanup = async (): Promise<void> => {
        await afterwards()
        await rm(directory, { recursive: true })
      }
      return { io: makeIo(), directory, cleanup }
    },
  })
  const body = tests.get(title)
  assert.ok(body, `the suite has no test '${title}'`)
  return body
}

test.each(CANARIES)('the suite sees that $defect', async (canary) => {
  const sound = FsIo.create()
  const body = collected(
    canary.seenBy,
    () => spoiled(sound, canary),
    () => sound.dispose(),
  )
  await expect(body()).rejects.toThrow()
})

test.each(CANARIES)('the suite finds nothing where it is not so that $defect', async (canary) => {
  const sound = FsIo.create()
  const body = collected(
    canary.seenBy,
    () => spoiled(sound, { ...canary, spoil: () => ({}) }),
    () => sound.dispose(),
  )
  await expect(body()).resolves.toBeUndefined()
})
