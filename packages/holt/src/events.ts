import { channel } from 'node:diagnostics_channel'

/**
 * What a database publishes on `node:diagnostics_channel`. Every message carries `path`, the database's directory.
 *
 * - `holt:checkpoint:start` `{ path, epoch, frames }`
 * - `holt:checkpoint:end` `{ path, epoch, frames, durationMs, error? }`
 * - `holt:checkpoint:stall` `{ path, epoch, runningMs }`: it has been under way for 10 s: the disk does not answer, or hardly
 * - `holt:segment:switch` `{ path, segment }`: the journal goes on in its next segment
 * - `holt:view:lost` `{ path, version }`: the garbage collector found a view that nobody had closed; it is closed now
 * - `holt:journal:poisoned` `{ path, error }`: a journal write or sync failed; writes are refused from now on
 * - `holt:journal:recycle-failed` `{ path, error }`: segments that are not needed could not be put away; it is tried again
 */
export const CHANNELS = {
  checkpointStart: 'holt:checkpoint:start',
  checkpointEnd: 'holt:checkpoint:end',
  checkpointStall: 'holt:checkpoint:stall',
  segmentSwitch: 'holt:segment:switch',
  viewLost: 'holt:view:lost',
  journalPoisoned: 'holt:journal:poisoned',
  recycleFailed: 'holt:journal:recycle-failed',
} as const

export type ChannelName = (typeof CHANNELS)[keyof typeof CHANNELS]

/** Publishes if anybody listens. A listener that throws does so in a turn of its own: it cannot disturb a write. */
export function publish(name: ChannelName, message: Readonly<Record<string, unknown>>): void {
  const target = channel(name)
  if (target.hasSubscribers) target.publish(message)
}
