import { HoltError } from '@holt/errors'

/** A first-in, first-out queue that holds back its producers when it is full. */
export class BoundedQueue<T> {
  readonly #capacity: number
  readonly #items: T[] = []
  readonly #producers: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = []
  #consumer: ((item: T | undefined) => void) | undefined
  #closed = false

  constructor(capacity: number) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `a queue's capacity is ${String(capacity)}; at least 1 is wanted`,
      )
    }
    this.#capacity = capacity
  }

  get length(): number {
    return this.#items.length
  }

  /** Resolves when the item is in the queue. Rejects `HOLT_CLOSED` when the queue is closed first. */
  async push(item: T): Promise<void> {
    while (!this.#closed && this.#consumer === undefined && this.#items.length >= this.#capacity) {
      await new Promise<void>((resolve, reject) => this.#producers.push({ resolve, reject }))
    }
    if (this.#closed) throw new HoltError('HOLT_CLOSED', 'the queue is closed')
    if (this.#consumer !== undefined) {
      const consumer = this.#consumer
      this.#consumer = undefined
      consumer(item)
    } else {
      this.#items.push(item)
    }
  }

  /** The next item; `undefined` once the queue is closed and empty. One consumer at a time. */
  take(): Promise<T | undefined> {
    const item = this.#items.shift()
    this.#producers.shift()?.resolve()
    if (item !== undefined || this.#closed) return Promise.resolve(item)
    return new Promise((resolve) => {
      this.#consumer = resolve
    })
  }

  /** The next item if there is one already. */
  takeNow(): T | undefined {
    const item = this.#items.shift()
    if (item !== undefined) this.#producers.shift()?.resolve()
    return item
  }

  /** Refuses what comes from now on; what is queued can still be taken. */
  close(): void {
    this.#closed = true
    this.#consumer?.(undefined)
    this.#consumer = undefined
    for (const producer of this.#producers.splice(0))
      producer.reject(new HoltError('HOLT_CLOSED', 'the queue is closed'))
  }
}
