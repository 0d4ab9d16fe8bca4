import { createHash } from 'node:crypto'

/** A checksum of answers: equal for stores that answered alike. */
export class Digest {
  readonly #hash = createHash('sha256')

  /** Lengths go along, so that no two lists of answers look alike. */
  add(answer: string | Uint8Array | undefined): void {
    if (answer === undefined) {
      this.#hash.update('absent;')
      return
    }
    const bytes = typeof answer === 'string' ? Buffer.from(answer) : answer
    this.#hash
      .update(`${String(bytes.length)}:`)
      .update(bytes)
      .update(';')
  }

  end(): string {
    return this.#hash.digest('hex').slice(0, 16)
  }
}
