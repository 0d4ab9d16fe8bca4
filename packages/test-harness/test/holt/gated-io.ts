import type { Io } from '@holt/uring-native'

/** Calls that answer with a promise and reach the disk: before each of them somebody else may have his turn. */
const GATED: ReadonlySet<string | symbol> = new Set([
  'open',
  'close',
  'stat',
  'read',
  'readMany',
  'write',
  'writeMany',
  'writeManyAndSync',
  'sync',
  'allocate',
  'punchHole',
  'truncate',
  'rename',
  'link',
  'remove',
  'list',
  'mkdir',
  'syncDir',
  'lock',
])

/**
 * An Io that awaits `gate`, with the number of the call from 1 on, before each of its calls: whatever the gate does, such as
 * letting another process write, happens between two calls of this one. Batches are one call.
 */
export function gatedIo<T extends Io>(io: T, gate: (call: number) => Promise<void>): T {
  let calls = 0
  return new Proxy(io, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = value as (...args: unknown[]) => unknown
      if (!GATED.has(name)) return method.bind(target)
      return async (...args: unknown[]) => {
        await gate(++calls)
        return await method.apply(target, args)
      }
    },
  })
}
