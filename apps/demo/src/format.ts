/** Numbers as people read them. */

export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US')
}

export function formatBytes(sizeBytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = sizeBytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? String(value) : value.toFixed(1)} ${units[unit] ?? ''}`
}

/** A duration of any size in the unit that suits it. */
export function formatMs(durationMs: number): string {
  if (durationMs >= 1000) return `${(durationMs / 1000).toFixed(2)} s`
  if (durationMs >= 1) return `${durationMs.toFixed(1)} ms`
  if (durationMs >= 0.001) return `${(durationMs * 1000).toFixed(1)} µs`
  return `${(durationMs * 1e6).toFixed(0)} ns`
}

export function formatRate(count: number, durationMs: number): string {
  return `${formatCount(count / Math.max(durationMs / 1000, 1e-9))}/s`
}
