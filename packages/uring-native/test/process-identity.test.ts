import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'

import { describe, expect, test } from 'vitest'

import { isProcessGone, processIdentity } from '../src/process-identity.js'

/** Only Linux tells who a process is; elsewhere nobody is ever called gone. */
const known = processIdentity().machineId !== '' && processIdentity().pidNamespace !== ''

function startTimeOf(pid: number): string {
  const line = readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
  return line.slice(line.lastIndexOf(')') + 2).split(' ')[19]
}

test('the identity is of this process, the same in every thread', async () => {
  expect(processIdentity().pid).toBe(process.pid)
  if (existsSync('/proc/self/stat')) {
    expect(processIdentity().startTime).toBe(startTimeOf(process.pid))
    const worker = new Worker(
      `require('node:worker_threads').parentPort.postMessage(require('node:fs').readFileSync('/proc/self/stat', 'utf8'))`,
      { eval: true },
    )
    const [line] = (await once(worker, 'message')) as [string]
    expect(line.split(' ')).toContain(processIdentity().startTime)
  }
})

test('an identity without a usable pid is not called gone', () => {
  for (const pid of [0, -1, 1.5, NaN]) expect(isProcessGone({ ...processIdentity(), pid })).toBe(false)
})

test('an identity without a start time is judged by its pid alone', () => {
  expect(isProcessGone({ ...processIdentity(), startTime: '' })).toBe(false)
})

describe.runIf(known)('where the system tells who processes are', () => {
  test('a child is there while it lives and gone when it has ended', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000); console.log("up")'])
    await once(child.stdout, 'data')
    const pid = child.pid ?? 0
    const identity = { ...processIdentity(), pid, startTime: startTimeOf(pid) }
    expect(isProcessGone(identity)).toBe(false)
    expect(isProcessGone({ ...identity, startTime: '1' })).toBe(true)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(isProcessGone(identity)).toBe(true)
  })

  test('a zombie counts as gone', async () => {
    // The shell's child ends, and what became of the shell never collects it.
    const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'])
    const [line] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = Number(line.toString())
    try {
      while (!readFileSync(`/proc/${String(pid)}/stat`, 'utf8').includes(') Z ')) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      expect(isProcessGone({ ...processIdentity(), pid, startTime: startTimeOf(pid) })).toBe(true)
    } finally {
      parent.kill('SIGKILL')
      await once(parent, 'exit')
    }
  })

  test('a pid that was taken over by another process does not stand for the old one', () => {
    expect(isProcessGone({ ...processIdentity(), pid: process.ppid, startTime: '1' })).toBe(true)
  })
})
