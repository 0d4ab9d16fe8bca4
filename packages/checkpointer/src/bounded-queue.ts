import { HoltError } from '@holt/errors'

interface Producer<T> {
  readonly item: T
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** A first-in, first-out queue that holds back its producers when it is full, and lets them in in their order. */
export class BoundedQueue<T> {
  readonly #capacity: number
  readonly #items: T[] = []
  readonly #producers: Producer<T>[] = []
  #consumer: ((item: T | undefined) => void) | undefined
  #watcher: (() => void) | undefined
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
  push(item: T): Promise<void> {
    if (this.#closed) return Promise.reject(closedError())
    const consumer = this.#consumer
    if (consumer !== undefined) {
      this.#consumer = undefined
      consumer(item)
    } else if (this.#items.length < this.#capacity) {
      this.#items.push(item)
      this.#wakeWatcher()
    } else {
      return new Promise((resolve, reject) => this.#producers.push({ item, resolve, reject }))
    }
    return Promise.resolve()
  }

  /** The next item; `undefined` once the queue is closed and empty. One consumer at a time. */
  take(): Promise<T | undefined> {
    const item = this.takeNow()
    if (item !== undefined || this.#closed) return Promise.resolve(item)
    return new Promise((resolve) => {
      this.#consumer = resolve
    })
  }

  /** The next item if there is one already. */
  takeNow(): T | undefined {
    const item = this.#items.shift()
    if (item === undefined) return undefined
    // Into the place that has become free before anybody else can take it.
    const producer = this.#producers.shift()
    if (producer !== undefined) {
      this.#items.push(producer.item)
      producer.resolve()
    }
    return item
  }

  /** The next item, without taking it. */
  peek(): T | undefined {
    return this.#items[0]
  }

  /** Calls back once, as soon as there is an item to take, or the queue is closed; at once if that is so already. */
  whenAny(callback: () => void): void {
    if (this.#items.length > 0 || this.#closed) callback()
    else this.#watcher = callback
  }

  /** Refuses what comes from now on, and who is held back; what is queued can still be taken. */
  close(): void {
    this.#closed = true
    this.#consumer?.(undefined)
    this.#consumer = undefined
    this.#wakeWatcher()
    for (const producer of this.#producers.splice(0)) producer.reject(closedError())
  }

  #wakeWatcher(): void {
    const watcher = this.#watcher
    this.#watcher = undefined
    watcher?.()
  }
}

function closedError(): HoltError {
  return new HoltError('HOLT_CLOSED', 'the queue is closed')
}
