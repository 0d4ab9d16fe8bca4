import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FRAME_BYTES } from '@holt/blob-buf-pool'
import { FsIo } from '@holt/uring-native'
import { describe, test } from 'vitest'
import { conformance, type ConformanceTarget } from '../src/conformance.js'
import { FileBlobStore, MemoryBlobStore } from '../src/index.js'
import { readManifest } from '../src/manifest-reader.js'
import { FaultyIo } from './support/faulty-io.js'

describe('MemoryBlobStore', () => {
  conformance({
    test,
    factory: () => {
      let store = new MemoryBlobStore()
      return Promise.resolve({
        store,
        reopen: () => Promise.resolve((store = store.reopen())),
        cleanup: () => store.close(),
      })
    },
  })
})

async function fileTarget(mayBlock = false): Promise<ConformanceTarget> {
  const directory = mkdtempSync(join(tmpdir(), 'holt-conformance-'))
  const faulty = new FaultyIo()
  const open = (): Promise<FileBlobStore> =>
    FileBlobStore.open({ io: faulty.io, directory, createIfMissing: true, mayBlock })
  let store = await open()
  return {
    store,
    reopen: async () => {
      await store.close()
      return (store = await open())
    },
    corrupt: (id, offsetBytes) => {
      const place = readManifest(readFileSync(join(directory, 'manifest')), 'manifest').mappings.get(id)
      if (place === undefined) throw new Error(`blob ${String(id)} is not in the manifest`)
      const byte = Buffer.alloc(1)
      const file = openSync(join(directory, 'blobs.dat'), 'r+')
      readSync(file, byte, 0, 1, place.diskSlot * FRAME_BYTES + offsetBytes)
      writeSync(file, Buffer.from([byte[0] ^ 0x10]), 0, 1, place.diskSlot * FRAME_BYTES + offsetBytes)
      closeSync(file)
      return Promise.resolve()
    },
    failNextFlush: () => {
      faulty.failNext('sync', /blobs\.dat$/)
    },
    cleanup: async () => {
      await store.close()
      await faulty.real.dispose()
      rmSync(directory, { recursive: true })
    },
  }
}

describe('FileBlobStore over FsIo', () => {
  conformance({ test, factory: () => fileTarget(), supports: { corrupt: true, failFlush: true } })
})

describe('FileBlobStore that writes by calls that block', () => {
  conformance({ test, factory: () => fileTarget(true), supports: { corrupt: true, failFlush: true } })
})

describe('FileBlobStore whose manifest fails at every flush that is told to', () => {
  conformance({
    test,
    factory: async () => {
      const directory = mkdtempSync(join(tmpdir(), 'holt-conformance-'))
      const faulty = new FaultyIo()
      const open = (): Promise<FileBlobStore> =>
        FileBlobStore.open({ io: faulty.io, directory, createIfMissing: true, maxBlobs: 2 ** 24 })
      let store = await open()
      return {
        store,
        reopen: async () => {
          await store.close()
          return (store = await open())
        },
        failNextFlush: () => {
          faulty.failNext('writeManyAndSync', /manifest/, { done: true })
        },
        cleanup: async () => {
          await store.close()
          await faulty.real.dispose()
          rmSync(directory, { recursive: true })
        },
      }
    },
    supports: { failFlush: true },
  })
})

describe('a store in a directory that is yet to be made', () => {
  test('is made with all the directories above it', async () => {
    const parent = mkdtempSync(join(tmpdir(), 'holt-conformance-'))
    const io = FsIo.create()
    const directory = join(parent, 'a', 'b')
    const store = await FileBlobStore.open({ io, directory, createIfMissing: true, maxBlobs: 16 })
    await store.flush(new Uint8Array([1]))
    await store.close()
    const again = await FileBlobStore.open({ io, directory, maxBlobs: 16 })
    if (again.note()?.[0] !== 1) throw new Error('the note is gone')
    await again.close()
    await io.dispose()
    rmSync(parent, { recursive: true })
  })
})
