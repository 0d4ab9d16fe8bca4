/** A promise and the means to settle it. A rejection that nobody awaits is not an unhandled one. */
export interface Deferred {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

export function deferred(): Deferred {
  let resolve: () => void = () => undefined
  let reject: (reason: unknown) => void = () => undefined
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  ignoreRejection(promise)
  return { promise, resolve, reject }
}

/** For a promise whose rejection reaches those concerned by another way. */
export function ignoreRejection(promise: Promise<unknown>): void {
  promise.catch(() => undefined)
}

/** What acknowledges that which is acknowledged already. */
export const RESOLVED: Promise<void> = Promise.resolve()
