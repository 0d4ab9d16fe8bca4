import type { SharedSlab } from '@holt/blob-buf-pool'
import type { BackupRequest, BackupState, VacuumStep } from '@holt/blob-store'
import { HoltError, type HoltErrorCode, isHoltError } from '@holt/errors'
import type { Epoch, EpochReport } from './epoch.js'

/** What the I/O worker is started with. */
export interface WorkerStart {
  readonly storeModuleUrl: string
  readonly storeData: unknown
  readonly slab: SharedSlab
  readonly slots: SharedArrayBuffer
  readonly io: 'uring' | 'fs'
  readonly groupEpochs: number
}

/** What is done between two epochs, and answered. */
export type Question =
  | { readonly kind: 'vacuum'; readonly maxFrames: number }
  | { readonly kind: 'backup'; readonly request: BackupRequest }
export type Answer = VacuumStep | BackupState

export type ToWorker =
  | { readonly kind: 'epoch'; readonly epoch: Epoch; readonly slab: SharedSlab | undefined }
  | { readonly kind: 'question'; readonly number: number; readonly question: Question }
  | { readonly kind: 'stop' }

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly error: SentError }
  | {
      readonly kind: 'answer'
      readonly number: number
      readonly answer: { readonly result: Answer } | { readonly error: SentError }
    }
  | {
      readonly kind: 'report'
      readonly report: Omit<EpochReport, 'error'>
      readonly error: SentError | undefined
    }

/** An error as it crosses a thread: structured clone keeps neither class nor code. */
export interface SentError {
  readonly code: HoltErrorCode
  readonly message: string
  readonly errno?: string | undefined
  readonly syscall?: string | undefined
  readonly path?: string | undefined
  readonly stack?: string | undefined
}

export function sendError(error: unknown): SentError {
  if (isHoltError(error)) {
    const { code, message, errno, syscall, path, stack } = error
    return { code, message, errno, syscall, path, stack }
  }
  if (error instanceof Error) return { code: 'HOLT_INTERNAL', message: error.message, stack: error.stack }
  return { code: 'HOLT_INTERNAL', message: String(error) }
}

export function receiveError(sent: SentError): HoltError {
  const { errno, syscall, path } = sent
  const error = new HoltError(sent.code, sent.message, {
    ...(errno === undefined ? {} : { errno }),
    ...(syscall === undefined ? {} : { syscall }),
    ...(path === undefined ? {} : { path }),
  })
  if (sent.stack !== undefined) error.stack = sent.stack
  return error
}
