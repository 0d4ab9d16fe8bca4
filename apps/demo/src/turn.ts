/** Resolves after one turn of the event loop: signals, timers and messages have had their chance. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
