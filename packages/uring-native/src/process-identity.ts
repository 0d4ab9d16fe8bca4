import { readFileSync, readlinkSync } from 'node:fs'

import type { ProcessIdentity } from './io.js'

/**
 * Who a process is and whether it is over, from what Linux tells under /proc. On other systems the fields beside the
 * pid stay empty, and then no process is ever called gone.
 */

let ours: ProcessIdentity | undefined

/** The identity of this process. Read once: nothing of it changes while the process lives. */
export function processIdentity(): ProcessIdentity {
  ours ??= {
    pid: process.pid,
    startTime: readStat('self')?.startTime ?? '',
    bootId: readLine('/proc/sys/kernel/random/boot_id'),
    machineId: readLine('/etc/machine-id'),
    pidNamespace: readNamespace(),
  }
  return ours
}

/**
 * Whether the process is certainly over. Only said of a process of this machine and this pid namespace, both known:
 * its boot is over, or its pid is unused, or the pid has been taken by a process that started at another time, or it
 * is a zombie (dead, not yet collected by its parent).
 */
export function isProcessGone(identity: ProcessIdentity): boolean {
  const here = processIdentity()
  if (identity.machineId === '' || identity.machineId !== here.machineId) return false
  if (identity.pidNamespace === '' || identity.pidNamespace !== here.pidNamespace) return false
  if (identity.bootId !== '' && here.bootId !== '' && identity.bootId !== here.bootId) return true
  if (!Number.isSafeInteger(identity.pid) || identity.pid <= 0) return false

  const stat = readStat(String(identity.pid))
  // /proc can hide other users' processes (hidepid), so only the kernel's own answer makes an absent entry a dead one.
  if (stat === undefined) return !canSignal(identity.pid)
  if (stat.state === 'Z' || stat.state === 'X') return true
  return identity.startTime !== '' && stat.startTime !== identity.startTime
}

/** Whether a process of that pid exists, whoever owns it. */
function canSignal(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}

/**
 * State and start time from /proc/<pid>/stat. The name in parentheses may hold spaces and parentheses, so fields are
 * counted after the last `)`: state is the first there (field 3 of proc(5)), the start time the twentieth (field 22).
 */
function readStat(pid: string): { readonly state: string; readonly startTime: string } | undefined {
  const line = readLine(`/proc/${pid}/stat`)
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  return fields.length < 20 ? undefined : { state: fields[0], startTime: fields[19] }
}

function readNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/** A small file's text without the line end, or nothing where it cannot be read. */
function readLine(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
