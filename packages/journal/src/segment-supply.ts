import { HoltError, isHoltError } from '@holt/errors'
import type { Fault } from './fault.js'
import type { LiveSegment, SegmentFiles, SegmentPlan } from './segments.js'

/** Has the segment after the current one ready before it is needed. */
export class SegmentSupply {
  readonly #files: SegmentFiles
  readonly #fault: Fault
  readonly #plan: () => SegmentPlan
  readonly #onReady: (segment: LiveSegment) => void
  #next: LiveSegment | undefined
  #preparing: Promise<void> | undefined
  #hasEnded = false

  /** `plan` says what the next segment's header holds, at the moment it is asked. */
  constructor(
    files: SegmentFiles,
    fault: Fault,
    plan: () => SegmentPlan,
    onReady: (segment: LiveSegment) => void,
  ) {
    this.#files = files
    this.#fault = fault
    this.#plan = plan
    this.#onReady = onReady
  }

  get next(): LiveSegment | undefined {
    return this.#next
  }

  /**
   * Resolves when the next segment is ready. Calls that overlap share one attempt.
   *
   * @throws HoltError `HOLT_NO_SPACE`, after which a later call tries again; any other failure poisons.
   */
  prepare(): Promise<void> {
    if (this.#next !== undefined) return Promise.resolve()
    if (this.#hasEnded) return Promise.reject(new HoltError('HOLT_CLOSED', 'the journal has ended'))
    this.#preparing ??= this.#make().finally(() => {
      this.#preparing = undefined
    })
    return this.#preparing
  }

  /** Hands the next segment over. It must be ready. */
  take(): LiveSegment {
    const next = this.#next
    if (next === undefined) {
      throw new HoltError(
        'HOLT_INTERNAL',
        'the journal was asked to switch segments before the next one was ready',
      )
    }
    this.#next = undefined
    return next
  }

  /** Makes no segment any more: waits for an attempt under way and hands over what is ready, if anything. */
  async end(): Promise<LiveSegment | undefined> {
    this.#hasEnded = true
    await this.#preparing?.catch(() => undefined)
    const next = this.#next
    this.#next = undefined
    return next
  }

  async #make(): Promise<void> {
    try {
      this.#next = await this.#files.create(this.#plan())
    } catch (error) {
      if (isHoltError(error, 'HOLT_NO_SPACE')) throw error
      throw this.#fault.poison(error)
    }
    this.#onReady(this.#next)
  }
}
