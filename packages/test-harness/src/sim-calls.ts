import { HoltError } from '@holt/errors'
import { systemError } from '@holt/uring-native'

import { CallQueue } from './call-queue.js'
import { Refusal } from './disk-state.js'
import type { DiskState } from './disk-state.js'
import type { FaultRules, Lie, SimOperation } from './fault-rules.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimClock } from './sim-clock.js'
import type { LatencyModel } from './sim-latency.js'

/** What a hook is told of a call, before it has any effect. */
export interface SimCall {
  /** 1 for the first call of a process. */
  readonly number: number
  readonly operation: SimOperation
  readonly path: string
}

/** One call into the simulated kernel. */
export interface Step<T> {
  readonly operation: SimOperation
  readonly syscall: string
  readonly path: string
  /** Carries it out; a transfer moves at most `limitBytes`. Throws a {@link Refusal}, or a `HoltError`. */
  run(limitBytes: number): T
  /** What an injected failure leaves behind. Nothing if absent. */
  failed?(): void
  /** What happens instead when it is lost or misdirected; answers as `run` does when all went well. */
  lie?(lie: Lie): T
  /** What may be left of it if the process dies, or the power fails, before it is carried out. */
  torn?(state: DiskState, random: SeededRandom): void
}

interface Outstanding {
  readonly step: Pick<Step<unknown>, 'torn' | 'path'>
  readonly run: () => void
  readonly reject: (error: unknown) => void
}

/**
 * The calls of one process: numbers them, shows them to the hook, injects faults, and keeps those that are outstanding,
 * so that a crash can leave them half done.
 */
export class SimCalls {
  readonly faults: FaultRules
  readonly #queue: CallQueue<Outstanding>
  /** Calls that are with the device: they come to the queue when their time has passed. */
  readonly #underWay = new Set<Outstanding>()
  readonly #clock: SimClock
  readonly #latency: LatencyModel | undefined
  readonly #onDelay: () => void
  readonly #onCall: ((call: SimCall) => void) | undefined
  readonly #beforeEach: () => void
  /** The call that a hook is being told of. */
  #announced: Outstanding['step'] | undefined
  #count = 0
  #ended: HoltError | undefined
  #idleWaiters: (() => void)[] = []

  constructor(options: {
    readonly faults: FaultRules
    readonly reorder: SeededRandom | undefined
    readonly onCall: ((call: SimCall) => void) | undefined
    readonly clock: SimClock
    /** How long calls take. Without it: no time. */
    readonly latency: LatencyModel | undefined
    /** Runs when something has been set on the clock. */
    readonly onDelay: () => void
    /** Runs when a call is made and when it is carried out. */
    readonly beforeEach: () => void
  }) {
    this.faults = options.faults
    this.#queue = new CallQueue(options.reorder)
    this.#onCall = options.onCall
    this.#clock = options.clock
    this.#latency = options.latency
    this.#onDelay = options.onDelay
    this.#beforeEach = options.beforeEach
  }

  /** Calls carried out so far. */
  get count(): number {
    return this.#count
  }
  get outstanding(): number {
    return this.#queue.length + this.#underWay.size
  }
  /** Those of the outstanding calls that will be carried out without the clock being moved. */
  get ready(): number {
    return this.#queue.length
  }

  /** Carries a call out at once. The time it takes goes by before; alarms that came due meanwhile ring afterwards. */
  now<T>(step: Step<T>): T {
    for (;;) {
      this.#assertAlive()
      const delayMs = this.#latency?.draw(step.operation) ?? 0
      if (delayMs > 0) {
        this.#clock.pass(delayMs)
        queueMicrotask(() => {
          this.#clock.advance(0)
        })
      }
      this.#beforeEach()
      const outcome = this.#attempt(step)
      if (outcome) return outcome.value
    }
  }

  /** Queues a call. */
  later<T>(step: Step<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended)
        return
      }
      this.#beforeEach()
      const call: Outstanding = {
        step,
        reject,
        run: () => {
          this.#beforeEach()
          try {
            const outcome = this.#attempt(step)
            if (outcome) resolve(outcome.value)
            else this.#submit(call, step.operation)
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)))
          }
          this.#wakeIdle()
        },
      }
      this.#submit(call, step.operation)
    })
  }

  #submit(call: Outstanding, operation: SimOperation): void {
    const delayMs = this.#latency?.draw(operation) ?? 0
    if (delayMs === 0) {
      this.#queue.add(call)
      return
    }
    this.#underWay.add(call)
    this.#clock.setCompletion(delayMs, () => {
      this.#underWay.delete(call)
      this.#queue.add(call)
    })
    this.#onDelay()
  }

  /** Undefined when a signal interrupted it before it did anything: it is to be made again. */
  #attempt<T>(step: Step<T>): { readonly value: T } | undefined {
    this.#count++
    this.#announced = step
    try {
      this.#onCall?.({ number: this.#count, operation: step.operation, path: step.path })
    } finally {
      this.#announced = undefined
    }
    this.#assertAlive()
    const fault = this.faults.decide(step.operation, step.path)
    if (fault === undefined) return { value: this.#run(step, Infinity) }
    if (fault.lie) return { value: this.#lie(step, fault.lie) }
    if (fault.errno === undefined) return { value: this.#run(step, fault.shortBytes ?? Infinity) }
    if (fault.errno === 'EINTR') {
      return fault.shortBytes === undefined ? undefined : { value: this.#run(step, fault.shortBytes) }
    }
    if (fault.late) this.#run(step, Infinity)
    else if (fault.shortBytes !== undefined) this.#run(step, fault.shortBytes)
    else step.failed?.()
    throw systemError(fault.errno, step.syscall, step.path)
  }

  #run<T>(step: Step<T>, limitBytes: number): T {
    return reporting(() => step.run(limitBytes))
  }

  #lie<T>(step: Step<T>, lie: Lie): T {
    const { operation, path } = step
    const tell = step.lie?.bind(step)
    if (tell === undefined) {
      throw new HoltError('HOLT_INTERNAL', `a call of kind '${operation}' of '${path}' cannot be ${lie.kind}`)
    }
    return reporting(() => tell(lie))
  }

  #assertAlive(): void {
    if (this.#ended) throw this.#ended
  }

  get isEnded(): boolean {
    return this.#ended !== undefined
  }

  /** Leaves on `state` what the outstanding calls may have done already. */
  tear(state: DiskState, random: SeededRandom): void {
    const steps = [...this.#queue.waiting, ...this.#underWay].map(({ step }) => step)
    if (this.#announced) steps.push(this.#announced)
    for (let left = steps.length; left > 0; left--) {
      const step = steps.splice(random.below(left), 1).at(0)
      try {
        step?.torn?.(state, random)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
      }
    }
  }

  /** Outstanding calls fail with `error`, and so does every later one. */
  end(error: HoltError): void {
    this.#ended ??= error
    for (const call of [...this.#queue.drop(), ...this.#underWay]) call.reject(error)
    this.#underWay.clear()
    this.#wakeIdle()
  }

  /** Resolves when nothing is outstanding. */
  async idle(): Promise<void> {
    while (this.outstanding > 0) {
      await new Promise<void>((resolve) => {
        this.#idleWaiters.push(resolve)
      })
    }
  }

  #wakeIdle(): void {
    if (this.outstanding > 0) return
    const waiters = this.#idleWaiters
    this.#idleWaiters = []
    for (const wake of waiters) wake()
  }
}

/** Runs what a step does, and reports the system's refusals as every Io does. */
function reporting<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof Refusal) throw systemError(error.errno, error.syscall, error.path)
    throw error
  }
}
