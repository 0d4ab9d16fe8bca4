import { Presets, SingleBar } from 'cli-progress'

export interface Progress {
  readonly update: (done: number) => void
  readonly stop: () => void
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined }
const REDRAW_MS = 50

/** A progress bar on a terminal; nothing anywhere else, so that logs stay readable. */
export function startProgress(label: string, total: number): Progress {
  if (!process.stderr.isTTY) return SILENT
  const bar = new SingleBar(
    {
      format: `  ${label} [{bar}] {percentage}% | {value}/{total} | {duration_formatted}`,
      hideCursor: true,
      clearOnComplete: true,
      stopOnComplete: false,
      gracefulExit: false,
      fps: 1000 / REDRAW_MS,
    },
    Presets.shades_classic,
  )
  bar.start(total, 0)
  return { update: (done) => bar.update(done), stop: () => bar.stop() }
}
