import { HoltError } from '@holt/errors'
import { FsIo, type Io } from '@holt/uring-native'

type Method = 'sync' | 'write' | 'writeMany' | 'writeManyAndSync' | 'rename' | 'syncDir' | 'allocate'

interface Fault {
  readonly method: Method
  /** Of the file or of the first path the call names. */
  readonly name: RegExp
  readonly code: 'HOLT_IO' | 'HOLT_NO_SPACE'
  /** Whether the operation is carried out all the same. */
  readonly done: boolean
}

/** The real disk, except that calls fail as they are told to, and that every call is written down. */
export class FaultyIo {
  readonly real: Io = FsIo.create()
  readonly calls: string[] = []
  #faults: Fault[] = []

  /** The next call of that method on that file fails. */
  failNext(method: Method, name: RegExp, options: { code?: Fault['code']; done?: boolean } = {}): void {
    this.#faults.push({ method, name, code: options.code ?? 'HOLT_IO', done: options.done ?? false })
  }

  readonly io: Io = new Proxy(this.real, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown =>
        this.#call(String(property), value as (...args: unknown[]) => unknown, args)
    },
  })

  #call(method: string, run: (...args: unknown[]) => unknown, args: unknown[]): unknown {
    const first = args[0]
    const path = typeof first === 'string' ? first : ((first as { path?: string } | undefined)?.path ?? '')
    this.calls.push(`${method} ${path.split('/').at(-1) ?? ''}`)
    const index = this.#faults.findIndex((fault) => fault.method === method && fault.name.test(path))
    if (index < 0) return run.apply(this.real, args)
    const [fault] = this.#faults.splice(index, 1)
    const error = new HoltError(fault.code, `${method} fails as it was told to`, { errno: 'EIO', path })
    if (!fault.done) return Promise.reject(error)
    return Promise.resolve(run.apply(this.real, args)).then(() => Promise.reject(error))
  }
}
