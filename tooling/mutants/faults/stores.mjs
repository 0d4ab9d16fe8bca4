/** @import { Fault } from '../index.mjs' */

const SRC = 'packages/blob-store/src'
const OWN = 'packages/blob-store/test'
const SIMULATED = 'packages/test-harness/test/blob-store'

/** Steps of the file store, its manifest, its vacuum and its backup. @type {readonly Fault[]} */
export const storeFaults = [
  {
    id: 'store-manifest-found-write',
    fault: 'the last record of a manifest that was found is synced, but not written again',
    file: `${SRC}/manifest-log.ts`,
    find: '      await this.#io.write(this.#file, this.#lastRecord.offsetBytes, this.#lastRecord.bytes)\n',
    replace: '',
    test: `${OWN}/file-blob-store.test.ts`,
    title:
      'opening a FileBlobStore a reader changes no byte, and one that writes only after it wrote the last record again',
  },
  {
    id: 'store-manifest-found-sync',
    fault: 'a manifest that was found is not synced before it is built on',
    file: `${SRC}/manifest-log.ts`,
    find: '    await this.#io.sync(this.#file)\n    this.#lastRecord',
    replace: '    this.#lastRecord',
    test: `${OWN}/file-blob-store.test.ts`,
    title:
      'opening a FileBlobStore a reader changes no byte, and one that writes only after it wrote the last record again',
  },
  {
    id: 'store-manifest-record-sync',
    fault: 'a record of the manifest is written and not synced',
    file: `${SRC}/manifest-log.ts`,
    find: 'await this.#io.writeManyAndSync(this.#file, [',
    replace: 'await this.#io.writeMany(this.#file, [',
    test: `${SIMULATED}/file-blob-store-crashes.test.ts`,
    title:
      'FileBlobStore after a crash at any call of its Io shows the last completed flush or the one in progress',
  },
  {
    id: 'store-manifest-length-sync',
    fault: 'the manifest is lengthened and the new length announced before it is stable',
    file: `${SRC}/manifest-log.ts`,
    find: '    await this.#io.sync(file)\n    return this.#announcedBytes + LOG_ROOM_BYTES\n',
    replace: '    return this.#announcedBytes + LOG_ROOM_BYTES\n',
    test: `${SIMULATED}/manifest-lengthened.test.ts`,
  },
  {
    id: 'store-manifest-cut-behind-end',
    fault:
      'what a crash left behind the announced length of the manifest is announced with the room behind it',
    file: `${SRC}/manifest-log.ts`,
    find: '    if (sizeBytes > this.#announcedBytes) await this.#io.truncate(file, this.#announcedBytes)\n',
    replace: '    void sizeBytes\n',
    test: `${OWN}/forged-manifest.test.ts`,
    title:
      'the log of a manifest cuts off what a crash left behind the announced size before it announces more',
  },
  {
    id: 'store-manifest-snapshot-sync',
    fault: 'a snapshot of the manifest is not synced before it takes the name',
    file: `${SRC}/manifest-log.ts`,
    find: '      await this.#io.write(file, 0, bytes)\n      await this.#io.sync(file)\n',
    replace: '      await this.#io.write(file, 0, bytes)\n',
    test: `${SIMULATED}/manifest-replaced.test.ts`,
    title:
      'a flush that replaces the manifest is there when it has resolved, whatever names a power loss takes',
  },
  {
    id: 'store-manifest-snapshot-name',
    fault: 'the rename of a snapshot of the manifest is not made stable',
    file: `${SRC}/manifest-log.ts`,
    find: "    await this.#io.syncDir(this.#directory)\n    this.#standing = 'settled'\n  }\n\n  /** A temporary",
    replace: "    this.#standing = 'settled'\n  }\n\n  /** A temporary",
    test: `${SIMULATED}/manifest-replaced.test.ts`,
    title:
      'a flush that replaces the manifest is there when it has resolved, whatever names a power loss takes',
  },
  {
    id: 'store-manifest-undecided',
    fault: 'a record whose sync failed is taken for one that was never written',
    file: `${SRC}/manifest-log.ts`,
    find: "    this.#standing = 'undecided'\n    this.#number++\n",
    replace: '    this.#number++\n',
    test: `${SIMULATED}/file-blob-store-crashes.test.ts`,
    title:
      'FileBlobStore when a call of its Io fails with EIO at any write, loses no completed flush and shows no mixture',
  },
  {
    id: 'store-data-sync',
    fault: 'frames are not synced before the manifest names them',
    file: `${SRC}/file-blob-store.ts`,
    find: "        await writer.sync()\n      } catch (error) {\n        this.#dropStaged('quarantine')\n",
    replace:
      "        await Promise.resolve()\n      } catch (error) {\n        this.#dropStaged('quarantine')\n",
    test: `${SIMULATED}/file-blob-store-crashes.test.ts`,
    title:
      'FileBlobStore after a crash at any call of its Io shows the last completed flush or the one in progress',
  },
  {
    id: 'store-sync-failed-slots',
    fault: 'places of frames whose sync failed are used again at once',
    file: `${SRC}/file-blob-store.ts`,
    find: "      } catch (error) {\n        this.#dropStaged('quarantine')\n",
    replace: "      } catch (error) {\n        this.#dropStaged('free')\n",
    test: `${OWN}/file-blob-store.test.ts`,
    title:
      'failures of a FileBlobStore after a failed data sync frames go to other slots, and those come back after a flush',
  },
  {
    id: 'store-undecided-slots',
    fault: 'places that a record of unknown fate names are used again at once',
    file: `${SRC}/file-blob-store.ts`,
    find: "this.#dropStaged(this.#log.standing === 'settled' ? 'free' : 'quarantine')",
    replace: "this.#dropStaged('free')",
    test: `${OWN}/file-blob-store.test.ts`,
    title: 'is settled by a snapshot before the next change',
  },
  {
    id: 'store-undecided-goes-on',
    fault: 'after a record of unknown fate the store goes on without settling the matter',
    file: `${SRC}/file-blob-store.ts`,
    find: '        await this.#settleUndecided()\n',
    replace: '        await Promise.resolve()\n',
    test: `${OWN}/file-blob-store.test.ts`,
    title:
      'failures of a FileBlobStore a manifest record of unknown fate that was not written is settled by a snapshot before the next change',
  },
  {
    id: 'store-slot-reuse',
    fault: 'the place of a flushed frame is free as soon as another version of it is staged',
    file: `${SRC}/file-blob-store.ts`,
    find: '    this.#unstage(id)\n    this.#staged.set(id, staged)\n',
    replace:
      '    this.#unstage(id)\n    const flushed = this.#mapping.get(id)\n' +
      '    if (flushed !== undefined) this.#slots.release(flushed.diskSlot)\n    this.#staged.set(id, staged)\n',
    test: `${OWN}/file-blob-store.test.ts`,
    title: 'the slot of a flushed frame is not written before the next flush has completed',
  },
  {
    id: 'store-way-sync',
    fault: 'the way to the directory of a new store is not made stable',
    file: `${SRC}/file-blob-store.ts`,
    find: '    await syncAncestors(this.#io, this.#directory)\n',
    replace: '',
    test: `${OWN}/file-blob-store.test.ts`,
    title: 'opening a FileBlobStore syncs the names of a fresh store before its first flush completes',
  },
  {
    id: 'store-new-data-file',
    fault:
      'neither the name of a new data file nor that of a manifest that was found is made stable at the first change',
    file: `${SRC}/file-blob-store.ts`,
    find: '      await this.#io.syncDir(this.#directory)\n      if (this.#reader === undefined)',
    replace: '      if (this.#reader === undefined)',
    test: `${SIMULATED}/file-blob-store-crashes.test.ts`,
    title:
      'FileBlobStore after a crash at any call of its Io shows the last completed flush or the one in progress',
  },
  {
    id: 'store-order-of-files',
    fault: 'the data file of a new store is made before its manifest',
    file: `${SRC}/file-blob-store.ts`,
    find: '    switch (this.#log.standing) {\n',
    replace: '    this.#writer ??= await this.#openWriter()\n    switch (this.#log.standing) {\n',
    test: `${SIMULATED}/file-blob-store-crashes.test.ts`,
    title:
      'FileBlobStore after a crash at any call of its Io shows the last completed flush or the one in progress',
  },
  {
    id: 'store-page-check',
    fault: 'only the first pages of a frame are checked against their checksums',
    file: `${SRC}/data-file.ts`,
    find: 'frame.subarray(PAGE_BYTES, place.pages * PAGE_BYTES), 1, id,',
    replace: 'frame.subarray(PAGE_BYTES, Math.min(place.pages, 8) * PAGE_BYTES), 1, id,',
    test: `${OWN}/file-blob-store.test.ts`,
    title: 'every page is checked on the way in',
  },
  {
    id: 'store-vacuum-commit',
    fault: 'vacuum: frames that were moved are not committed before the end is cut off',
    file: `${SRC}/vacuum.ts`,
    find: '    await parts.commit()\n  }\n  const before = writer.sizeBytes\n  await writer.cutOff(slots.reach)\n',
    replace:
      '    for (const { from } of moves) slots.release(from.diskSlot)\n  }\n  const before = writer.sizeBytes\n' +
      '  await writer.cutOff(slots.reach)\n  for (const { from } of moves) slots.take(from.diskSlot)\n' +
      '  if (moves.length > 0) await parts.commit()\n',
    test: `${SIMULATED}/vacuum-crashes.test.ts`,
    title: 'a crash at any call of its Io changes nothing that is stored',
  },
  {
    id: 'store-vacuum-punch',
    fault: 'vacuum: the last page in use of a frame is given back with what lies behind it',
    file: `${SRC}/data-file.ts`,
    find: '      const storedBytes = pages * PAGE_BYTES\n',
    replace: '      const storedBytes = (pages - 1) * PAGE_BYTES\n',
    test: `${SIMULATED}/vacuum-crashes.test.ts`,
    title:
      'gives back what lies behind the pages in use of each slot, in steps, and a crash at any call of it loses nothing',
  },
  {
    id: 'store-backup-data-sync',
    fault: 'backup: frames are not synced before there is a manifest that names them',
    file: `${SRC}/store-backup.ts`,
    find: '    await io.sync(data)\n',
    replace: '',
    test: 'packages/test-harness/test/holt/backup.test.ts',
    title: "a backup is a store of its own, as small as it can be, of a database of durability 'memory'",
  },
  {
    id: 'store-backup-name-sync',
    fault: 'backup: the name of its data file is not made stable before there is a manifest',
    file: `${SRC}/store-backup.ts`,
    find: '    await io.syncDir(directory)\n    await syncAncestors(io, directory)\n',
    replace: '    await syncAncestors(io, directory)\n',
    test: 'packages/test-harness/test/holt/backup.test.ts',
    title:
      'a crash at any call of a backup leaves the source whole, and of the copy all or nothing that opens',
  },
  {
    id: 'store-backup-way-sync',
    fault: 'backup: the way to its directory is not made stable',
    file: `${SRC}/store-backup.ts`,
    find: '    await io.syncDir(directory)\n    await syncAncestors(io, directory)\n',
    replace: '    await io.syncDir(directory)\n',
    test: 'packages/test-harness/test/holt/backup.test.ts',
    title: "a backup is a store of its own, as small as it can be, of a database of durability 'memory'",
  },
  {
    id: 'store-backup-held-slots',
    fault: 'backup: places of its image are used again before they are copied',
    file: `${SRC}/file-blob-store.ts`,
    find: '    if (this.#backup?.holds(diskSlot) === true) this.#heldForBackup.push(diskSlot)\n    else this.#slots',
    replace: '    this.#slots',
    test: 'packages/test-harness/test/holt/backup.test.ts',
    title: 'a backup beside writes, checkpoints, vacuum and compaction is one state of the store',
  },
  {
    id: 'store-backup-abandon-order',
    fault: 'backup: one that is given up loses its data file before its manifest',
    file: `${SRC}/store-backup.ts`,
    find: '    for (const name of [MANIFEST_NAME, MANIFEST_TEMPORARY_NAME, DATA_NAME]) {\n',
    replace: '    for (const name of [DATA_NAME, MANIFEST_TEMPORARY_NAME, MANIFEST_NAME]) {\n',
    test: 'packages/test-harness/test/holt/backup.test.ts',
    title: 'and so does the giving up of it: what stays is a whole store, or none',
  },
  {
    id: 'store-cache-id-reuse',
    fault: 'the id of a freed blob is used again before the removal is durable',
    file: `${SRC}/buffer-manager.ts`,
    find: '    const deletes = this.#freed.list()\n    this.#freed.clear()\n',
    replace: '    const deletes = this.#freed.list()\n    this.forgetFreed()\n',
    test: `${OWN}/buffer-manager.test.ts`,
    title:
      'BufferManager B33: hands out the lowest free id, and a freed one only after the cut that removed it is durable',
  },
  {
    id: 'store-cache-flushing-immutable',
    fault: 'a frame that is being written out is changed in place',
    file: `${SRC}/buffer-manager.ts`,
    find: '        if (!this.slots.move(slot, FLUSHING, SUPERSEDED)) {\n',
    replace: '        if (this.slots.move(slot, FLUSHING, DIRTY)) {\n',
    test: `${OWN}/buffer-manager.test.ts`,
    title: 'copies a frame that is changed while it is being written out, and leaves the old one as it was',
  },
  {
    id: 'store-cache-restore',
    fault: 'what a failed cut was to free is forgotten',
    file: `${SRC}/buffer-manager.ts`,
    find: '    for (const id of cut.deletes) this.#freed.add(id)\n',
    replace: '',
    test: `${OWN}/buffer-manager.test.ts`,
    title: 'BufferManager B36: takes a failed cut back: the next one holds all of it',
  },
  {
    id: 'store-read-only-current',
    fault: 'a read-only store does not look at the manifest again when a frame fails its checks',
    file: `${SRC}/file-blob-store.ts`,
    find: "!isHoltError(error, 'HOLT_CORRUPT') || this.isCurrent()) return error",
    replace: "!isHoltError(error, 'HOLT_CORRUPT')) return error",
    test: 'packages/test-harness/test/holt/read-only.test.ts',
    title: 'damage of a frame is HOLT_CORRUPT, also while a writer has the store open',
  },
]
