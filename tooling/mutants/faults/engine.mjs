/** @import { Fault } from '../index.mjs' */

const CHECKPOINTER = 'packages/checkpointer/src'
const HOLT = 'packages/holt/src'
const OWN = 'packages/checkpointer/test'
const SIMULATED = 'packages/test-harness/test/holt'

/** Steps of checkpoints, of openings and closes, and of whole databases. @type {readonly Fault[]} */
export const engineFaults = [
  {
    id: 'engine-checkpoint-log-first',
    fault: 'frames are written before the journal is stable up to the cut',
    file: `${CHECKPOINTER}/checkpointer.ts`,
    find: '      await journal?.sync()\n',
    replace: '',
    test: `${OWN}/checkpointer.test.ts`,
    title:
      'Checkpointer makes the journal stable before any frame reaches the store, then writes, deletes, flushes once, and recycles',
  },
  {
    id: 'engine-checkpoint-recycles-later',
    fault: 'the journal is recycled up to where it is when the epoch returns, not up to the cut',
    file: `${CHECKPOINTER}/checkpointer.ts`,
    find: 'this.#retire(cut, report, position)',
    replace: 'this.#retire(cut, report, journal?.position)',
    test: `${OWN}/checkpointer.test.ts`,
    title:
      'Checkpointer makes the journal stable before any frame reaches the store, then writes, deletes, flushes once, and recycles',
  },
  {
    id: 'engine-checkpoint-recycles-early',
    fault: 'the journal is recycled before the epoch is committed',
    file: `${CHECKPOINTER}/checkpointer.ts`,
    find: '      await journal?.sync()\n',
    replace: '      await journal?.sync()\n      if (position !== undefined) journal?.recycle(position)\n',
    test: `${OWN}/checkpointer.test.ts`,
    title:
      'Checkpointer makes the journal stable before any frame reaches the store, then writes, deletes, flushes once, and recycles',
  },
  {
    id: 'engine-checkpoint-not-restored',
    fault: 'what an epoch that failed was to write is taken for written',
    file: `${CHECKPOINTER}/checkpointer.ts`,
    find: '      frames.restore(cut)\n',
    replace: '',
    test: `${OWN}/checkpointer.test.ts`,
    title: 'Checkpointer loses nothing when writeMany fails: all belongs to the next cut',
  },
  {
    id: 'engine-checkpoint-under-way',
    fault: 'a checkpoint that is asked for resolves with the one under way, which was cut before',
    file: `${CHECKPOINTER}/checkpointer.ts`,
    find: '    while (this.#running !== undefined) await this.#running.catch(() => undefined)\n',
    replace: '    if (this.#running !== undefined) {\n      await this.#running\n      return\n    }\n',
    test: `${OWN}/checkpointer.test.ts`,
    title: 'Checkpointer does not count an epoch under way as covering what came after its cut',
  },
  {
    id: 'engine-epoch-unflushed',
    fault: 'slots are clean before the flush of their epoch has returned',
    file: `${CHECKPOINTER}/epoch-committer.ts`,
    find: '    try {\n      await store.writeMany(',
    replace: '    try {\n      retireFrames(slots, slab, epoch.frames)\n      await store.writeMany(',
    test: `${OWN}/checkpointer.test.ts`,
    title: 'Checkpointer loses nothing when writeMany fails: all belongs to the next cut',
  },
  {
    id: 'engine-sync-queued',
    fault: 'db.sync does not wait for writes that wait',
    file: `${HOLT}/engine.ts`,
    find: '    this.assertNotReadOnly()\n    await this.#drained()\n    if (!this.#started) {\n      // What replay',
    replace: '    this.assertNotReadOnly()\n    if (!this.#started) {\n      // What replay',
    test: `${SIMULATED}/named-scenarios.test.ts`,
    title: 'the journal a sync covers writes that still wait for their turn, as the first of an opening do',
  },
  {
    id: 'engine-sync-found',
    fault: 'db.sync before the first write does not make stable what replay brought back',
    file: `${HOLT}/engine.ts`,
    find: '      if (!this.#hasNews()) return\n      await this.#begin()\n    }\n    if (this.journal !== undefined)',
    replace: '      return\n    }\n    if (this.journal !== undefined)',
    test: `${SIMULATED}/named-scenarios.test.ts`,
    title: 'the journal a kill, an opening, a sync and no write, then a power loss: what was found is there',
  },
  {
    id: 'engine-start-lock',
    fault: 'the lock file is not made stable before the first change',
    file: `${HOLT}/open.ts`,
    find: '      await lock.settle()\n',
    replace: '',
    test: `${SIMULATED}/opening-calls.test.ts`,
    title: 'the lock file is stable before the first change',
  },
  {
    id: 'engine-lock-settle-sync',
    fault: 'what makes the lock file stable syncs nothing',
    file: `${HOLT}/store-lock.ts`,
    find: '      await this.#io.sync(file)\n',
    replace: '      await Promise.resolve()\n',
    test: `${SIMULATED}/opening-calls.test.ts`,
    title: 'the lock file is stable before the first change',
  },
  {
    id: 'engine-lock-without-flock-sync',
    fault: 'without flock the lock file takes its name before it is stable',
    file: `${HOLT}/store-lock.ts`,
    find: '  if (!holder.hasFlock) await io.sync(file)\n',
    replace: '  await Promise.resolve()\n',
    test: `${SIMULATED}/opening-calls.test.ts`,
    title:
      'a power loss beside an opening that only reads leaves no lock that keeps others out, flock: false',
  },
  {
    id: 'engine-start-store',
    fault: 'the manifest that was found is not made sure of before the journal changes',
    file: `${HOLT}/open.ts`,
    find: '      await store.settle()\n',
    replace: '',
    test: `${SIMULATED}/close-crashes.test.ts`,
    title:
      "'os': a close leaves no journal, a crash at any call of it, or of the next first write, loses nothing",
  },
  {
    id: 'engine-place-without-journal',
    fault: 'a life without a journal leaves the log as if it went on',
    file: `${HOLT}/open.ts`,
    find: '  const placeWithoutJournal = found.placeBehindAll\n',
    replace: '  const placeWithoutJournal = found.position\n',
    test: 'packages/holt/test/changes.test.ts',
    title: 'a life without a journal in between expires what was before it',
  },
  {
    id: 'engine-note-unlinked',
    fault: 'the note forgets what deletePrefix has unlinked',
    file: `${HOLT}/snapshots.ts`,
    find: 'of index.unlinked.list()) {',
    replace: 'of [] as KeptFrame[]) {',
    test: `${SIMULATED}/named-scenarios.test.ts`,
    title:
      'a checkpoint a crash between the frames that are written and those that are given up: no frame belongs to nobody',
  },
  {
    id: 'engine-note-building',
    fault: 'the note forgets the frames of a bulk load under way',
    file: `${HOLT}/snapshots.ts`,
    find: '    for (const id of index.building) kept.push({ id, isSingle: false, birth: epoch, death: epoch })\n',
    replace: '',
    test: `${SIMULATED}/bulk-load-crashes.test.ts`,
    title:
      'a bulk load that a crash interrupts is there in whole or not at all, at every call of the Io, and leaks no frame',
  },
  {
    id: 'engine-recovered-seq',
    fault: 'versions go on right behind the highest one found, though higher ones may have been handed out',
    file: `${HOLT}/recovery.ts`,
    find: 'seq: isNew ? 0 : highestSeq + SEQ_WINDOW,',
    replace: 'seq: isNew ? 0 : highestSeq,',
    test: `${SIMULATED}/named-scenarios.test.ts`,
    title:
      'the journal a tail that is lost, new appends, then a power loss: the tail does not come back, nor do its versions',
  },
  {
    id: 'engine-close-unsealed',
    fault: 'a close takes its last checkpoint without having sealed the journal',
    file: `${HOLT}/engine.ts`,
    find: '        await this.journal?.seal()\n',
    replace: '',
    test: `${SIMULATED}/close-crashes.test.ts`,
    title:
      "'os': a close leaves no journal, a crash at any call of it, or of the next first write, loses nothing",
  },
  {
    id: 'engine-close-discards-anyway',
    fault: 'a close removes the journal although its last checkpoint has failed',
    file: `${HOLT}/engine.ts`,
    find: '    let isAllInImage = false\n',
    replace: '    let isAllInImage = true\n',
    test: `${SIMULATED}/close-crashes.test.ts`,
    title:
      'a close whose last checkpoint fails at any of its calls keeps the journal, and the next opening has everything',
  },
  {
    id: 'engine-load-uncommitted',
    fault: 'a bulk load resolves before the checkpoint that has it is durable',
    file: `${HOLT}/engine.ts`,
    find: '        await checkpointer?.checkpoint({ force: true })\n      } catch (error) {\n        await this.#undoLoad',
    replace: '        await Promise.resolve()\n      } catch (error) {\n        await this.#undoLoad',
    test: `${SIMULATED}/bulk-load-crashes.test.ts`,
    title:
      'a bulk load that a crash interrupts is there in whole or not at all, at every call of the Io, and leaks no frame',
  },
  {
    id: 'engine-load-not-undone',
    fault: 'a bulk load whose checkpoint has failed is not taken back by a record of the journal',
    file: `${HOLT}/engine.ts`,
    find: '        await this.#undoLoad(prefix)\n',
    replace: '',
    test: `${SIMULATED}/bulk-load-crashes.test.ts`,
    title:
      'a bulk load that a crash interrupts is gone for good once its last checkpoint was told of a failure, of one that happened all the same',
  },
  {
    id: 'engine-load-told-early',
    fault: 'followers are told of a bulk load before it is durable',
    file: `${HOLT}/engine.ts`,
    find: '        journal.holdFollowers()\n',
    replace: '',
    test: `${SIMULATED}/change-feed-files.test.ts`,
  },
]
