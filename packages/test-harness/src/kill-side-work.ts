import { rmSync } from 'node:fs'
import { join } from 'node:path'

import { type Db, isHoltError, type Tree, type TreeView } from 'holt'

import { writtenBy } from './kill-workload.js'

const VIEW_MS = 150
const MOST_VIEWS = 3
const BACKUP_PAUSE_MS = 40

/** Keeps some views open while others write; each must show until its end what it showed at its beginning. */
export function holdViews(tree: Tree<string, Uint8Array>): void {
  const held: { readonly view: TreeView<string, Uint8Array>; readonly shown: string }[] = []
  setInterval(() => {
    const view = tree.view()
    held.push({ view, shown: shownBy(view) })
    const oldest = held.length > MOST_VIEWS ? held.shift() : undefined
    if (oldest === undefined) return
    const now = shownBy(oldest.view)
    if (now !== oldest.shown) throw new Error(`a view showed ${oldest.shown} and shows ${now}`)
    oldest.view.close()
  }, VIEW_MS)
}

function shownBy(view: TreeView<string, Uint8Array>): string {
  let entries = 0
  let sum = 0
  for (const { key, value } of view.scan()) {
    entries++
    sum = (Math.imul(sum, 31) + key.length + value.length + writtenBy(value)) | 0
  }
  return `${String(entries)} entries of sum ${String(sum)}`
}

/**
 * Makes one backup after the other, each in a directory of its own, and tells of each that was acknowledged:
 * `b <name> <settled> <issued>`. It holds all operations below the first number, and none from the second on.
 */
export function makeBackups(
  db: Db,
  directory: string,
  tell: (line: string) => void,
  operations: () => { readonly settled: number; readonly issued: number },
): void {
  const make = async (): Promise<void> => {
    for (let number = 0; ; number++) {
      await new Promise((resolve) => setTimeout(resolve, BACKUP_PAUSE_MS))
      const name = String(number)
      const { settled } = operations()
      tell('B')
      try {
        await db.backup(join(directory, name))
        tell(`b ${name} ${String(settled)} ${String(operations().issued)}`)
        // The parent looks at the last one.
        rmSync(join(directory, String(number - 1)), { recursive: true, force: true })
      } catch (error) {
        if (!isHoltError(error, 'HOLT_NO_SPACE')) throw error
        tell('N')
      }
    }
  }
  void make()
}

/**
 * Follows what is committed from a version on, and tells of each commit with a put: `f <operation> <version>`. When that
 * version is not kept any more it tells `x` and begins with what comes from now on.
 */
export function followChanges(db: Db, fromVersion: number, tell: (line: string) => void): void {
  const follow = async (from: number | undefined): Promise<void> => {
    for await (const { version, changes } of db.changes(from)) {
      const put = changes.find((change) => change.kind === 'put')
      if (put !== undefined) tell(`f ${String(writtenBy(put.value))} ${String(version)}`)
    }
  }
  void follow(fromVersion).catch((error: unknown) => {
    if (!isHoltError(error, 'HOLT_POSITION_EXPIRED')) throw error
    tell('x')
    return follow(undefined)
  })
}
