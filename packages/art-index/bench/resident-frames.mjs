import { Slab } from '@holt/blob-buf-pool'

/** The least frame source: everything resident. Counts allocations, so that a put that divided a frame is recognised. */
export class ResidentFrames {
  allocations = 0
  highest = 0
  #idle = []

  constructor(frames) {
    this.slab = Slab.create({ frameCount: frames })
    this.pageTable = new Int32Array(frames + 2)
    this.residency = new Int32Array(1)
    this.recency = new Int32Array(frames + 2)
  }

  /** Frames in use. */
  get count() {
    return this.highest - this.#idle.length
  }

  fault(id) {
    throw new Error(`blob ${id} is not resident`)
  }

  writable(id) {
    return this.pageTable[id]
  }

  allocate() {
    this.allocations++
    const id = this.#idle.pop() ?? ++this.highest
    const slot = this.slab.lease()
    this.slab.bytes(slot).fill(0, 0, 4096)
    this.pageTable[id] = slot
    return id
  }

  free(id) {
    this.slab.release(this.pageTable[id])
    this.pageTable[id] = 0
    this.#idle.push(id)
  }
}
