// Writes records to a file, by the way and the Io named in the arguments, until the system's limit on the size of files
// refuses one; says how many were acknowledged, what refused the next, and whether a smaller file can still be written.
import { writeSync } from 'node:fs'

import { FsIo, UringIo } from '../../dist/index.js'

const [kind, way, directory] = process.argv.slice(2)
const RECORD_BYTES = 16 << 10
const io = kind === 'fs' ? FsIo.create() : UringIo.create()
const record = (number) => new Uint8Array(RECORD_BYTES).fill(number + 1)

const file = await io.open(`${directory}/limited`, { access: 'readwrite', create: true })
let acknowledged = 0
let refusal
for (; acknowledged < 100 && refusal === undefined; acknowledged += refusal === undefined ? 1 : 0) {
  const offsetBytes = acknowledged * RECORD_BYTES
  const bytes = record(acknowledged)
  try {
    if (way === 'writeMany') await io.writeMany(file, [{ offsetBytes, bytes }])
    else if (way === 'allocate') await io.allocate(file, offsetBytes, RECORD_BYTES)
    else await io[way](file, offsetBytes, bytes)
    if (way === 'allocate') await io.write(file, offsetBytes, bytes)
  } catch (error) {
    refusal = `${error.code} ${error.errno} ${error.path === file.path ? 'with path' : 'without path'}`
  }
}
const other = await io.open(`${directory}/other`, { access: 'readwrite', create: true })
await io.write(other, 0, record(0))
await io.sync(file)
await io.dispose()
writeSync(1, JSON.stringify({ acknowledged, refusal }))
