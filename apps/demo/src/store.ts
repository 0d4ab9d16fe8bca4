import { type Db, type Durability, type Tree, open } from 'holt'

/** The files' tree: paths as bytes, values as views of the packed stat. */
export type FileTree = Tree<Buffer, Uint8Array>

export interface FileStore {
  readonly db: Db
  readonly tree: FileTree
}

const TREE_NAME = 'files'

/** Opens the demo's store in a directory, creating it if need be. */
export async function openFileStore(directory: string, durability: Durability): Promise<FileStore> {
  const db = await open(directory, { durability })
  const tree = await db.tree(TREE_NAME, { keyEncoding: 'buffer', valueEncoding: 'view' })
  return { db, tree }
}
