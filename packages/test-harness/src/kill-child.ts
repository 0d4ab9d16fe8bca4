/**
 * A process that writes until it is killed. Arguments: directory, durability, seed, number of the first operation.
 *
 * Each acknowledgement is on its way to the parent, by a blocking write to standard output, before anything that
 * follows it: `a <n>`. Besides: `o` open, `c` a checkpoint begins, `e` it ends, `s` the journal switched segments.
 */
import { subscribe } from 'node:diagnostics_channel'
import { writeSync } from 'node:fs'

import { CHANNELS, open } from 'holt'

import { KILL_CHILD_OPTIONS, KILL_WINDOW } from './kill-options.js'
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

async function main(): Promise<void> {
  const [directory = '', durability, seedText, firstText] = process.argv.slice(2)
  if (directory === '' || (durability !== 'os' && durability !== 'disk')) {
    throw new Error('usage: kill-child directory os|disk seed first')
  }
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

  const write = async (n: number): Promise<void> => {
    const writes = killOperation(seed, n)
    const only = writes.at(0)
    if (writes.length === 1 && only) {
      const tree = trees.at(only.tree)
      if (only.kind === 'put') await tree?.put(only.key, only.value)
      // That nothing was to be deleted is known at once: it says nothing about the writes before.
      else if (!(await tree?.delete(only.key))) return
    } else {
      await db.atomic((tx) => {
        for (const part of writes) {
          const tree = trees.at(part.tree)
          if (tree === undefined) throw new Error('no such tree')
          if (part.kind === 'put') tx.in(tree).put(part.key, part.value)
          else tx.in(tree).delete(part.key)
        }
      })
    }
    tell(`a ${String(n)}`)
  }
  const window: Promise<void>[] = []
  for (let n = Number(firstText); ; n++) {
    window.push(write(n))
    if (window.length >= KILL_WINDOW) await window.shift()
    // Checkpoints and timers want their turns, however fast acknowledgements come.
    if (n % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
}

await main()
