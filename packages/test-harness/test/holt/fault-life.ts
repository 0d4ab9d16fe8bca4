import { HoltError } from '@holt/errors'
import type { Db } from 'holt'
import { expect } from 'vitest'

/** What may be found at a key, and which writes were made together. */
export class Expectation {
  readonly #possible = new Map<string, Set<string | undefined>>()
  readonly #batches: { readonly keys: readonly string[]; readonly value: string }[] = []
  readonly failures: string[] = []

  /** A write of `value` (undefined: a delete) that was acknowledged or refused. */
  async note(keys: readonly string[], value: string | undefined, written: Promise<unknown>): Promise<void> {
    let acknowledged = true
    try {
      await written
    } catch (error) {
      acknowledged = false
      expect(error).toBeInstanceOf(HoltError)
      this.failures.push((error as HoltError).message)
    }
    for (const key of keys) {
      const possible = this.#possible.get(key) ?? new Set([undefined])
      // Refused: whether it is there only a look tells. It may also come out of the log at the next opening.
      if (acknowledged) this.#possible.set(key, new Set([value]))
      else this.#possible.set(key, new Set([...possible, value]))
    }
    if (keys.length > 1 && value !== undefined) this.#batches.push({ keys, value })
  }

  check(found: ReadonlyMap<string, string>, what: string): void {
    for (const key of found.keys()) expect([what, key, this.#possible.has(key)]).toEqual([what, key, true])
    for (const [key, possible] of this.#possible) {
      const value = found.get(key)
      if (!possible.has(value))
        expect.unreachable(
          `${what}: '${key}' is ${String(value).slice(0, 40)}, not one of ${[...possible].map((one) => String(one).slice(0, 40)).join(', ')}`,
        )
    }
    for (const { keys, value } of this.#batches) {
      const there = keys.filter((key) => found.get(key) === value).length
      expect([what, keys, there === 0 || there === keys.length]).toEqual([what, keys, true])
    }
  }
}

export async function read(db: Db): Promise<Map<string, string>> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return new Map(
    tree
      .scan()
      .toArray()
      .map(({ key, value }) => [key, value]),
  )
}

/** A life: small and large writes, batches, deletes, several journal segments, checkpoints, an orderly end. */
export async function live(db: Db, expectation: Expectation, mark: string): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  const put = (key: string, value: string): Promise<void> =>
    expectation.note([key], value, tree.put(key, value))
  const quietly = async (call: Promise<unknown>): Promise<void> => {
    await call.catch((error: unknown) => {
      expect(error).toBeInstanceOf(HoltError)
    })
  }
  for (let i = 0; i < 6; i++) await put(`one/${String(i)}`, `${mark} ${String(i)}`)
  await put('large', mark.repeat(3_000))
  await expectation.note(
    ['both/a', 'both/b', 'both/c'],
    mark,
    db.atomic((tx) => {
      for (const key of ['both/a', 'both/b', 'both/c']) tx.in(tree).put(key, mark)
    }),
  )
  await quietly(db.checkpoint())
  await expectation.note(['one/2'], undefined, tree.delete('one/2'))
  // More than a segment takes.
  for (let i = 0; i < 11; i++) await put(`long/${String(i)}`, `${mark} `.repeat(1_000))
  await Promise.all(Array.from({ length: 5 }, (_, i) => put(`together/${String(i)}`, mark)))
  await quietly(db.sync())
  await quietly(db.checkpoint())
  await put('last', mark)
  await expectation.note([], undefined, db.close())
}
