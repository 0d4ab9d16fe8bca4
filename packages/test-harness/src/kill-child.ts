/**
 * A process that writes until it is killed. Arguments: directory, durability, seed, number of the first operation, version
 * behind which the change feed begins, directory for backups, and for a file system that is to be full a path for a file
 * that fills it.
 *
 * Each acknowledgement is on its way to the parent, by a blocking write to standard output, before anything that
 * follows it. The lines are in kill-lines.ts.
 */
import { subscribe } from 'node:diagnostics_channel'
import { writeSync } from 'node:fs'

import { CHANNELS, type Db, isHoltError, open, type Tree } from 'holt'

import { FullDisk } from './kill-full-disk.js'
import { KILL_CHILD_OPTIONS, KILL_WINDOW } from './kill-options.js'
import { followChanges, holdViews, makeBackups } from './kill-side-work.js'
import { KILL_TREES, killOperation } from './kill-workload.js'

const STDOUT = 1

function tell(line: string): void {
  const bytes = Buffer.from(`${line}\n`)
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(STDOUT, bytes, done)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error
    }
  }
}

/** Resolves to whether it had any effect: what had none is known at once, and says nothing about the writes before. */
async function perform(
  db: Db,
  trees: readonly Tree<string, Uint8Array>[],
  seed: number,
  n: number,
): Promise<boolean> {
  const writes = killOperation(seed, n)
  const only = writes[0]
  if (writes.length > 1) {
    await db.atomic((tx) => {
      for (const part of writes) {
        const tree = trees[part.tree]
        if (part.kind === 'put') tx.in(tree).put(part.key, part.value)
        else if (part.kind === 'delete') tx.in(tree).delete(part.key)
        else throw new Error(`a ${part.kind} is an operation of its own`)
      }
    })
    return true
  }
  const tree = trees[only.tree]
  if (only.kind === 'delete') return await tree.delete(only.key)
  if (only.kind === 'deletePrefix') return await tree.deletePrefix(only.prefix)
  if (only.kind === 'put') await tree.put(only.key, only.value)
  else {
    try {
      await tree.renamePrefix(only.from, only.to, { force: true })
    } catch (error) {
      if (!isHoltError(error, 'HOLT_NOT_FOUND')) throw error
      return false
    }
  }
  return true
}

async function main(): Promise<void> {
  const [directory = '', durability, seedText, firstText, fromVersion, backups = '', fillerPath = ''] =
    process.argv.slice(2)
  if (directory === '' || backups === '' || (durability !== 'os' && durability !== 'disk'))
    throw new Error('usage: kill-child directory os|disk seed first from-version backups [filler]')
  const seed = Number(seedText)
  subscribe(CHANNELS.checkpointStart, () => {
    tell('c')
  })
  subscribe(CHANNELS.checkpointEnd, () => {
    tell('e')
  })
  subscribe(CHANNELS.segmentSwitch, () => {
    tell('s')
  })
  const db = await open(directory, { ...KILL_CHILD_OPTIONS, durability })
  const trees = await Promise.all(KILL_TREES.map((name) => db.tree(name)))
  tell('o')

  const fullDisk = fillerPath === '' ? undefined : new FullDisk(fillerPath)
  const write = async (n: number): Promise<void> => {
    for (;;) {
      try {
        if (await perform(db, trees, seed, n)) tell(`a ${String(n)}`)
        return
      } catch (error) {
        // Refused is unchanged: once there is room the same operation is made again, before any other.
        if (fullDisk === undefined || !isHoltError(error, 'HOLT_NO_SPACE')) throw error
        tell('n')
        await fullDisk.afterRefusal()
      }
    }
  }
  const window: Promise<void>[] = []
  const mostAtOnce = fullDisk === undefined ? KILL_WINDOW : 1
  let next = Number(firstText)
  holdViews(trees[1])
  makeBackups(db, backups, tell, () => ({ settled: next - window.length, issued: next + 1 }))
  followChanges(db, Number(fromVersion), tell)
  for (; ; next++) {
    fullDisk?.beforeWrite()
    window.push(write(next))
    if (window.length >= mostAtOnce) await window.shift()
    // Checkpoints and timers want their turns, however fast acknowledgements come.
    if (next % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
}

await main()
