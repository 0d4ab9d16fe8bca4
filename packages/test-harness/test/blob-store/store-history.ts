import { blobId, FRAME_BYTES } from '@holt/blob-buf-pool'
import { FileBlobStore } from '@holt/blob-store'
import type { BlobStore } from '@holt/blob-store'

import { SeededRandom } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'

/** What a store shows: the note, and for each blob the byte its frame is filled with. */
export type StoreState = string

const FIRST_OWN_BYTE = 4096
const NO_STATE: StoreState = 'empty'

export function openStore(io: SimIo): Promise<FileBlobStore> {
  return FileBlobStore.open({ io, directory: '/s', createIfMissing: true })
}

function stateOf(blobs: ReadonlyMap<number, number>, note: number | undefined): StoreState {
  if (note === undefined) return NO_STATE
  const entries = [...blobs].sort(([a], [b]) => a - b).map(([id, byte]) => `${String(id)}=${String(byte)}`)
  return `note ${String(note)}: ${entries.join(' ')}`
}

/** Reads everything a store has. */
export async function lookAt(store: BlobStore): Promise<StoreState> {
  const blobs = new Map<number, number>()
  const frame = new Uint8Array(FRAME_BYTES)
  for (const id of store.list()) {
    await store.read(id, frame)
    const byte = frame[FIRST_OWN_BYTE]
    // Every page says the same: nothing is a mixture.
    for (let at = FIRST_OWN_BYTE; at < FRAME_BYTES; at += 4096) {
      if (frame[at] !== byte) throw new Error(`blob ${String(id)} is a mixture at ${String(at)}`)
    }
    blobs.set(id, byte)
  }
  return stateOf(blobs, store.note()?.[0])
}

/** A few flushes over few blobs, and what a crash at any moment may show. */
export class StoreHistory {
  readonly #random: SeededRandom
  #staged = new Map<number, number>()
  #flushed = new Map<number, number>()
  #byte = 0
  #note = 0
  /** After the last completed flush. */
  completed: StoreState = NO_STATE
  /** What the flush in progress, or one that failed undecided, may show. */
  inProgress: StoreState | undefined
  /** Whether the flush was reached in the last round. */
  flushing = false

  constructor(seed: number) {
    this.#random = new SeededRandom(seed)
  }

  get possible(): StoreState[] {
    return this.inProgress === undefined ? [this.completed] : [this.completed, this.inProgress]
  }

  /** Stages a few changes and flushes them. Rejects as the store does. */
  async round(store: BlobStore): Promise<void> {
    const random = this.#random
    this.flushing = false
    this.#staged = new Map(this.#flushed)
    const writes = []
    for (let i = random.between(1, 3); i > 0; i--) {
      const id = random.between(1, 5)
      const byte = (this.#byte = (this.#byte % 250) + 1)
      writes.push({ id: blobId(id), frame: new Uint8Array(FRAME_BYTES).fill(byte) })
      this.#staged.set(id, byte)
    }
    await store.writeMany(writes)
    if (random.chance(0.5)) {
      const id = random.between(1, 5)
      await store.delete(blobId(id))
      this.#staged.delete(id)
    }
    this.#note++
    this.inProgress = stateOf(this.#staged, this.#note)
    this.flushing = true
    await store.flush(Uint8Array.of(this.#note))
    this.#flushed = this.#staged
    this.completed = this.inProgress
    this.inProgress = undefined
  }
}
