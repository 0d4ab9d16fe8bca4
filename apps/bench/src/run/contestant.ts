import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import type { Answer, RequestKind, Requests } from './protocol.js'

/** Of what a process says on stderr, as much is kept. */
const STDERR_CHARACTERS = 4_000

/** A process that is measured. */
export class Contestant {
  readonly name: string
  readonly #child: ChildProcess
  #stderr = ''

  constructor(name: string, execArgv: readonly string[] = []) {
    this.name = name
    const program = fileURLToPath(new URL('./child.js', import.meta.url))
    this.#child = fork(program, [], {
      execArgv: ['--expose-gc', ...execArgv],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-STDERR_CHARACTERS)
    })
  }

  /** Rejects with what the process says went wrong, or when it ends before it answers. */
  ask<K extends RequestKind>(kind: K, request: Requests[K]['request']): Promise<Requests[K]['answer']> {
    const child = this.#child
    return new Promise((resolve, reject) => {
      const ended = (code: number | null, signal: string | null): void => {
        child.off('message', answered)
        reject(
          new Error(`the process of ${this.name} ended (${String(signal ?? code)}) ${this.#stderr.trim()}`),
        )
      }
      const answered = (message: unknown): void => {
        child.off('exit', ended)
        const answer = message as Answer
        if ('error' in answer) reject(new Error(`${this.name}: ${answer.error}`))
        else resolve(answer.answer)
      }
      if (this.#hasEnded) {
        ended(child.exitCode, child.signalCode)
        return
      }
      child.once('exit', ended)
      child.once('message', answered)
      child.send({ kind, request })
    })
  }

  /** Ends the process, which is idle, and waits for its end. */
  async end(): Promise<void> {
    if (this.#hasEnded) return
    const ended = once(this.#child, 'exit')
    if (this.#child.connected) this.#child.disconnect()
    else this.#child.kill('SIGKILL')
    await ended
  }

  /** Ends the process, whatever it does. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }
}
