import { SimDisk } from '../../src/index.js'
import type { SimIo, SimProcessOptions } from '../../src/index.js'

/** A process on a fresh disk with the directory `/d`, both stable. */
export async function freshProcess(
  options: SimProcessOptions = {},
  seed = 1,
): Promise<{ disk: SimDisk; io: SimIo }> {
  const disk = new SimDisk({ seed })
  const io = disk.start(options)
  await io.mkdir('/d')
  await io.syncDir('/')
  return { disk, io }
}

/** Every different answer that `look` gives for the disks that many power losses leave. */
export function afterPowerLosses(disk: SimDisk, look: (after: SimDisk) => string, count = 400): string[] {
  const answers = new Set<string>()
  for (let seed = 1; seed <= count; seed++) answers.add(look(disk.crashImage(seed)))
  return [...answers].sort()
}

/** A file's bytes as runs of equal bytes: `1x512 0x512`. */
export function runs(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return 'absent'
  const found: { byte: number; count: number }[] = []
  for (const byte of bytes) {
    const last = found.at(-1)
    if (last?.byte === byte) last.count++
    else found.push({ byte, count: 1 })
  }
  return found.map(({ byte, count }) => `${String(byte)}x${String(count)}`).join(' ')
}

export function filled(byte: number, length: number): Uint8Array {
  return new Uint8Array(length).fill(byte)
}
