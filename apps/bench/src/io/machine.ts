import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'

/** Where the figures come from; no figure means anything without it. */
export interface Machine {
  readonly processor: string
  readonly threads: number
  readonly memoryGib: number
  readonly kernel: string
  readonly node: string
  readonly fileSystem: string
  readonly threadPool: number
  readonly loadAverage: string
}

export function describeMachine(directory: string): Machine {
  return {
    processor: cpus().at(0)?.model.trim() ?? 'unknown',
    threads: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    fileSystem: fileSystemOf(directory),
    threadPool: Number(process.env['UV_THREADPOOL_SIZE'] ?? 4),
    loadAverage: existsSync('/proc/loadavg')
      ? readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 1).join('')
      : 'unknown',
  }
}

/** The mount that holds a path: the longest mount point that the path begins with, by /proc/self/mounts. */
function fileSystemOf(directory: string): string {
  if (!existsSync('/proc/self/mounts')) return 'unknown'
  let best = { point: '', what: 'unknown' }
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [device = '', point = '', type = ''] = line.split(' ')
    const holds = point === '/' || directory === point || directory.startsWith(`${point}/`)
    if (point !== '' && holds && point.length >= best.point.length)
      best = { point, what: `${type} on ${device}` }
  }
  return best.what
}

export function renderMachine(machine: Machine): string {
  return (
    `${machine.processor}, ${String(machine.threads)} threads, ${String(machine.memoryGib)} GiB; ` +
    `Linux ${machine.kernel}; Node ${machine.node}; ${machine.fileSystem}; ` +
    `thread pool of node:fs ${String(machine.threadPool)}; load average at the start ${machine.loadAverage}`
  )
}
