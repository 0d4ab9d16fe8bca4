import { copyFile, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { open } from 'holt'

/**
 * What a store holds, as text that can be kept beside it, by the tree's name; a tree of a snapshot by `snapshot: tree`. Keys
 * and values as latin1: one character a byte.
 */
export type StoreListing = Readonly<Record<string, readonly (readonly [string, string, number])[]>>

/** The smallest frames that there are, so that a few hundred keys fill several. */
const USABLE_FRAME_BYTES = 12_288
const SEGMENT_BYTES = 65_536

/**
 * Makes a store in `directory` that has everything the format knows: several trees, nodes of every kind, frames that
 * spilled, large values, manifest records, snapshots and frames that they alone see, and a journal of several segments whose
 * end is in no image yet. The content is the same every time, store id, salts and times are not. Returns what it holds.
 *
 * @param scratch - a directory for the store that is being written; it is copied as a killed process would leave it
 */
export async function makeFormatStore(directory: string, scratch: string): Promise<StoreListing> {
  const db = await open(scratch, {
    io: 'fs',
    usableFrameBytes: USABLE_FRAME_BYTES,
    segmentBytes: SEGMENT_BYTES,
    checkpoint: { thread: false, intervalMs: 1_000_000 },
  })
  const view = { keyEncoding: 'view', valueEncoding: 'view' } as const
  const paths = await db.tree('paths', view)
  const bytes = await db.tree('bytes', view)
  await db.tree('empty')
  const key = (text: string): Uint8Array => Buffer.from(text, 'latin1')

  for (let i = 0; i < 420; i++) {
    const directoryName = `tenant-${String(i % 6)}/${String((i * 7) % 20)}`
    await paths.put(key(`${directoryName}/object-${String(i)}.jpg`), key(`value ${String(i)} `.repeat(i % 4)))
  }
  for (const short of ['', 'tenant-1', 'tenant-1/', 'tenant-2/7/object'])
    await paths.put(key(short), key('short'))
  await db.snapshot('in the image')
  await db.snapshot('dropped')
  await db.checkpoint()
  for (let byte = 0; byte < 256; byte++) await bytes.put(Uint8Array.of(0x61, byte), Uint8Array.of(byte))
  for (let byte = 0; byte < 30; byte++) await bytes.put(Uint8Array.of(0x62, byte * 3), Uint8Array.of(byte))
  for (let byte = 0; byte < 9; byte++) await bytes.put(Uint8Array.of(0x63, byte * 11), Uint8Array.of(byte))
  await bytes.put(key('a long value'), key('0123456789abcdef'.repeat(900)))
  await bytes.put(key('the longest key '.repeat(14)), key(''))
  for (let i = 0; i < 420; i += 5)
    await paths.delete(key(`tenant-${String(i % 6)}/${String((i * 7) % 20)}/object-${String(i)}.jpg`))
  // Frames that are laid out anew have a filter.
  await db.compact()
  await db.checkpoint()

  // From here on in the journal only.
  for (let i = 0; i < 900; i++) await paths.put(key(`late/${String(i % 60)}`), key(`late value ${String(i)}`))
  for (let i = 0; i < 60; i += 3) await paths.delete(key(`late/${String(i)}`))
  await db.atomic((tx) => {
    tx.in(paths).put(key('batch/1'), key('one')).delete(key('late/1')).put(key('batch/2'), key('two'))
    tx.in(bytes).rename(Uint8Array.of(0x63, 0), Uint8Array.of(0x64))
  })
  await db.atomic((tx) => {
    tx.in(paths).put(key('packed/1'), key('one')).delete(key('late/2')).put(key('packed/two'), key('12345'))
  })
  await db.snapshot('in the journal')
  await db.dropSnapshot('dropped')
  await paths.deletePrefix(key('tenant-3/'))
  await paths.renamePrefix(key('tenant-4/'), key('renamed/'))
  await db.atomic((tx) => {
    tx.in(paths)
      .deletePrefix(key('late/1'))
      .renamePrefix(key('tenant-5/'), key('tenant-3/'))
      .put(key('x'), key(''))
  })
  await db.sync()

  await mkdir(directory, { recursive: true })
  for (const name of await readdir(scratch)) {
    if (!name.startsWith('lock')) await copyFile(join(scratch, name), join(directory, name))
  }
  const list = (tree: Pick<typeof paths, 'visitRange'>): [string, string, number][] => {
    const entries: [string, string, number][] = []
    tree.visitRange({}, ({ keyBytes, value, version }) => {
      entries.push([latin1(keyBytes), latin1(value), version])
    })
    return entries
  }
  const listing: Record<string, [string, string, number][]> = {
    paths: list(paths),
    bytes: list(bytes),
    empty: [],
  }
  for (const { name } of db.snapshots()) {
    const shown = db.openSnapshot(name)
    for (const tree of ['paths', 'bytes']) listing[`${name}: ${tree}`] = list(shown.tree(tree, view))
    listing[`${name}: empty`] = []
    shown.close()
  }
  await db.close()
  return listing
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}
