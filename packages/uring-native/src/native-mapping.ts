import { checkLength } from './arguments.js'
import type { Mapping } from './io.js'
import type { LogThread } from './native-log.js'

/** A mapped file. Populating is the log thread's. */
export class NativeMapping implements Mapping {
  readonly bytes: Uint8Array
  readonly #id: number
  readonly #log: LogThread
  readonly #detach: (id: number, bytes: Uint8Array) => Promise<void>
  #unmapped: Promise<void> | undefined

  constructor(
    id: number,
    buffer: ArrayBuffer,
    log: LogThread,
    detach: (id: number, bytes: Uint8Array) => Promise<void>,
  ) {
    this.#id = id
    this.bytes = new Uint8Array(buffer)
    this.#log = log
    this.#detach = detach
  }

  populate(offsetBytes: number, lengthBytes: number): void {
    checkLength(offsetBytes, 'an offset')
    checkLength(lengthBytes)
    if (this.#unmapped !== undefined || lengthBytes === 0) return
    this.#log.populate(this.#id, offsetBytes, lengthBytes)
  }

  unmap(): Promise<void> {
    this.#unmapped ??= this.#detach(this.#id, this.bytes)
    return this.#unmapped
  }
}
