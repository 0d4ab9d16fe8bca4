/** The process that `--crash` kills: indexes a list of files and tells its parent what has been acknowledged. */
import { readFileSync } from 'node:fs'

import type { Durability } from 'holt'

import { MAX_REPORTS_AHEAD, WINDOW_PUTS } from './crash.js'
import { FileList } from './file-list.js'
import { indexFiles } from './index-tree.js'
import { openFileStore } from './store.js'
import { turn } from './turn.js'

const args = process.argv.slice(2)
if (args.length !== 3) throw new Error('usage: crash-child DIRECTORY LIST-FILE DURABILITY')
const [directory, listFile, durability] = args

let unansweredReports = 0
let wake: (() => void) | undefined
process.on('message', () => {
  unansweredReports--
  wake?.()
})

/** Tells the parent, and goes on writing unless it is too far behind. */
async function report(acknowledgedCount: number): Promise<void> {
  process.send?.(acknowledgedCount)
  unansweredReports++
  // The message leaves with a turn of the event loop.
  await turn()
  while (unansweredReports >= MAX_REPORTS_AHEAD) {
    await new Promise<void>((resolve) => {
      wake = resolve
    })
  }
}

const files = FileList.deserialize(readFileSync(listFile))
const { tree, db } = await openFileStore(directory, durability as Durability)
await indexFiles(tree, files, { windowPuts: WINDOW_PUTS, onAcknowledged: report })
await db.close()
process.disconnect()
