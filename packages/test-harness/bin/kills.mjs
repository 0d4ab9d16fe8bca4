#!/usr/bin/env node
// Kills a writing process on a real disk, and checks every acknowledged write after each kill.
//   kills.mjs [--count N] [--durability os|disk] [--seed S] [--on ext4|xfs|btrfs|tmpfs]
// With --on (root) a file system of our own is made for the run; the one on tmpfs is full again and again.
import { parseArgs } from 'node:util'

import { describeKills, FILE_SYSTEMS, MountedFileSystem, runKills } from '../dist/index.js'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    durability: { type: 'string' },
    on: { type: 'string' },
  },
})
const count = Number(values.count)
const seed = Number(values.seed)
const modes = values.durability === undefined ? ['os', 'disk'] : [values.durability]
const isUsage = modes.every((mode) => mode === 'os' || mode === 'disk')
if (
  !(count >= 1) ||
  !Number.isInteger(seed) ||
  !isUsage ||
  (values.on !== undefined && !FILE_SYSTEMS.includes(values.on))
) {
  console.error(
    `usage: kills.mjs [--count N] [--durability os|disk] [--seed S] [--on ${FILE_SYSTEMS.join('|')}]`,
  )
  process.exit(2)
}

// The kill under way comes to its end, and what is mounted goes.
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => stop.abort())

for (const durability of modes) {
  if (stop.signal.aborted) break
  const startedMs = Date.now()
  let mounted
  try {
    if (values.on !== undefined) mounted = new MountedFileSystem(values.on)
  } catch (error) {
    console.error(error.message)
    process.exit(2)
  }
  const where = `'${durability}' mode${values.on === undefined ? '' : ` on ${values.on}`}`
  try {
    const counts = await runKills({
      count,
      durability,
      seed,
      signal: stop.signal,
      ...(mounted === undefined ? {} : { directory: mounted.directory, fillUp: values.on === 'tmpfs' }),
      onProgress: (done) => {
        if (process.stdout.isTTY) process.stdout.write(`\r${where}: ${done} of ${count} kills`)
      },
    })
    if (process.stdout.isTTY) process.stdout.write('\r')
    // So many of a hundred are asked for; few kills may miss them by chance.
    const enough =
      counts.duringCheckpoint >= counts.kills * 0.3 && counts.aroundSegmentSwitch >= counts.kills * 0.1
    if (counts.kills >= 100 && !enough) {
      process.exitCode = 1
      console.error('too few of the kills met a checkpoint or a segment switch')
    }
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(0)
    console.log(`${where}: no acknowledged write lost, in ${seconds} s\n${describeKills(counts)}`)
  } catch (error) {
    console.error(error)
    const on = values.on === undefined ? '' : ` --on ${values.on}`
    console.error(
      `again: node packages/test-harness/bin/kills.mjs --count ${count} --seed ${seed} --durability ${durability}${on}`,
    )
    process.exitCode = 1
  } finally {
    mounted?.unmount()
  }
}
if (stop.signal.aborted) process.exitCode = 130
