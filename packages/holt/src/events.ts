import { channel } from 'node:diagnostics_channel'

/**
 * What a database publishes on `node:diagnostics_channel`. Every message carries `path`, the database's directory.
 *
 * - `holt:checkpoint:start` `{ path, epoch, frames }`
 * - `holt:checkpoint:end` `{ path, epoch, frames, durationMs, error? }`
 * - `holt:segment:switch` `{ path, segment }`: the journal goes on in its next segment
 * - `holt:view:lost` `{ path, version }`: the garbage collector found a view that nobody had closed; it is closed now
 * - `holt:journal:poisoned` `{ path, error }`: a journal write or sync failed; writes are refused from now on
 */
export const CHANNELS = {
  checkpointStart: 'holt:checkpoint:start',
  checkpointEnd: 'holt:checkpoint:end',
  segmentSwitch: 'holt:segment:switch',
  viewLost: 'holt:view:lost',
  journalPoisoned: 'holt:journal:poisoned',
} as const

export type ChannelName = (typeof CHANNELS)[keyof typeof CHANNELS]

/** Publishes if anybody listens. A listener that throws does so in a turn of its own: it cannot disturb a write. */
export function publish(name: ChannelName, message: Readonly<Record<string, unknown>>): void {
  const target = channel(name)
  if (target.hasSubscribers) target.publish(message)
}
