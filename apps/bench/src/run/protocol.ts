/**
 * What the process that leads a run says to those that are measured, and what they answer: one request at a time. Every
 * engine has a process of its own, so that nobody's memory, threads or compiled code slow another.
 */
import type { OperationName } from '../operations/operation.js'
import type { Durability } from '../stores/store.js'
import type { WorkloadRequest } from '../workloads/workload.js'

export interface OpenRequest {
  readonly store: string
  /** Made by the request, removed by nobody but the leader. */
  readonly directory: string
  readonly durability: Durability
  readonly cacheBytes: number
  readonly workload: WorkloadRequest
}

/** A stretch of work, timed. */
export interface Timing {
  readonly operations: number
  readonly wallMs: number
  /** Of all threads of the process. */
  readonly cpuMicros: number
}

/** How long the turns of the event loop took, in ms. */
export interface TurnLengths {
  readonly p999: number
  readonly worst: number
  readonly turns: number
  readonly worstTurn: WorstTurn
}

/** What the longest turn was made of. */
export interface WorstTurn {
  /** When it began, in the loop. */
  readonly atMs: number
  /** The thread's own CPU time. */
  readonly ranMs: number
  /** It neither ran nor could have: it waited for the disk, for a lock, for another thread. */
  readonly stoodStillMs: number
  /** How often it was given a processor. With none it never gave one up: what stood still then was the whole virtual processor. */
  readonly switches: number
  /** No processor was free; not counted in the turn's length. */
  readonly waitedMs: number
  /** The collector of garbage was at work, running or standing still or waiting. */
  readonly collectedMs: number
}

export interface Requests {
  /** Makes the workload, opens the store, puts every key. */
  readonly open: { readonly request: OpenRequest; readonly answer: Opened }
  /** Loads into a store of its own, which is gone afterwards. */
  readonly load: { readonly request: OpenRequest; readonly answer: Timing }
  readonly answers: { readonly request: WorkRequest; readonly answer: { readonly digest: string } }
  readonly turn: { readonly request: WorkRequest; readonly answer: Timing }
  readonly stall: { readonly request: { readonly lengthMs: number }; readonly answer: Stall }
  /** Gives back all space and closes. */
  readonly finish: { readonly request: { readonly compact: boolean }; readonly answer: Finished }
  /** Opens what another process has closed, and reads a key. */
  readonly reopen: { readonly request: ReopenRequest; readonly answer: { readonly openMs: number } }
  /** The same, and reads every key: what the process grows by. */
  readonly readAll: {
    readonly request: OpenRequest
    readonly answer: { readonly residentBytes: number; readonly keyCount: number }
  }
  /** Syncs blocks to a file by hand: what the device takes, whatever the engine. */
  readonly probe: { readonly request: ProbeRequest; readonly answer: Timing }
}

export type RequestKind = keyof Requests

export interface WorkRequest {
  readonly operation: OperationName
  /** Operations for `answers`. For `turn` its length in ms. */
  readonly amount: number
}

export interface Opened {
  readonly keyCount: number
  /** One of them, for the opening of the store by another process. */
  readonly someKey: string
  readonly loaded: Timing
  /** By operation: why this store has none. */
  readonly missing: Readonly<Record<string, string>>
}

export interface Stall {
  /** A loop that does the same with a JS Map. */
  readonly control: TurnLengths
  readonly loaded: TurnLengths
}

export interface Finished {
  /** Of all files, as the file system has allocated it. */
  readonly diskBytes: number
}

export interface ReopenRequest extends OpenRequest {
  /** One that is there. The process makes no others: a program that starts has no heap of keys to be collected. */
  readonly key: string
}

export interface ProbeRequest {
  readonly directory: string
  readonly lengthMs: number
}

export type Answer = { readonly answer: Requests[RequestKind]['answer'] } | { readonly error: string }
