import { Journal, lsn, lsnSegment, type Lsn } from '@holt/journal'
import { expect, test } from 'vitest'
import { SeededRandom, SimDisk } from '../../src/index.js'

const DIRECTORY = '/store'
const STORE_ID = new Uint8Array(16).fill(7)
const LIVES = 10

interface Counts {
  kills: number
  powerLosses: number
  crashesInStart: number
  switches: number
  recycled: number
  lostTails: number
}

/** A record by its seq alone: size and every byte follow from it. */
function bodyOf(seq: number): Uint8Array {
  const bytes = new Uint8Array((seq * 7919) % 2 === 0 ? (seq * 31) % 90 : (seq * 131) % 3000)
  for (let i = 0; i < bytes.length; i++) bytes[i] = (seq + i * 7) & 0xff
  return bytes
}

/**
 * One log through several lives, each of which ends by a kill or a power loss at some call. What is read must be
 * exactly the records in order, at least those acknowledged for that kind of death, and never damage.
 */
async function liveAndDie(seed: number, counts: Counts): Promise<void> {
  const random = new SeededRandom(seed)
  let disk = new SimDisk({ seed })
  const setUp = disk.start()
  await setUp.mkdir(DIRECTORY)
  await setUp.syncDir('/')
  await setUp.dispose()

  /** The log as it must be found: seqs from `from` on, of which so many survive each kind of death. */
  let from: Lsn | undefined
  let seqs: number[] = []
  let survivesKill = 0
  let survivesPowerLoss = 0
  /** What the death before this life must have left. */
  let least = 0
  let nextSeq = 1

  for (let life = 0; life < LIVES; life++) {
    const durability = random.chance(0.5) ? 'os' : 'disk'
    const byPowerLoss = random.chance(0.6)
    let callsLeft = random.pick([random.below(40), random.below(400), 10_000])
    const progress = { hasStarted: false }
    let next: SimDisk | undefined
    const image = (): SimDisk => {
      if (next === undefined) throw new Error('the life did not end')
      return next
    }
    const isDead = (): boolean => next !== undefined
    const die = (): void => {
      if (isDead()) return
      next = byPowerLoss ? disk.crashImage(random.uint32()) : disk.killImage(random.uint32())
      // What is acknowledged from here on belongs to a world that is no more.
      disk.kill()
    }
    const io = disk.start({
      autoAdvance: true,
      reorder: random.chance(0.5),
      mappings: random.chance(0.7),
      onCall: () => {
        if (callsLeft-- <= 0) die()
      },
    })
    const run = async (): Promise<void> => {
      const journal = await Journal.open({
        io,
        directory: DIRECTORY,
        storeId: STORE_ID,
        segmentBytes: 16 * 1024,
        durability,
        syncIntervalMs: 50,
        random: () => random.uint32() / 2 ** 32,
      })
      const found: number[] = []
      const report = await journal.replay(from, ({ seq, body }) => {
        expect(body, `record ${String(seq)}`).toEqual(bodyOf(seq))
        found.push(seq)
      })
      expect(found, `seed ${String(seed)} life ${String(life)}`).toEqual(seqs.slice(0, found.length))
      expect(found.length, `seed ${String(seed)} life ${String(life)}`).toBeGreaterThanOrEqual(least)
      if (found.length < seqs.length) counts.lostTails++
      seqs = found
      // A power loss after this kill may still take what no sync covered, until the start has written it again.
      survivesKill = found.length
      expect(report.highestSeq).toBeGreaterThanOrEqual(seqs.at(-1) ?? 0)
      nextSeq = Math.max(nextSeq, report.highestSeq + 1000)
      await journal.start(nextSeq)
      if (isDead()) return
      progress.hasStarted = true
      survivesPowerLoss = seqs.length
      const appends = random.between(1, 60)
      for (let i = 0; i < appends; i++) {
        const body = bodyOf(nextSeq)
        if (!journal.hasRoom(body.length)) await journal.whenRoom(body.length)
        if (isDead()) return
        if (isDead()) return
        const before = journal.position
        journal.reserve(20, nextSeq, body.length)
        journal.body.set(body, journal.bodyOffset)
        if (random.chance(0.05)) {
          journal.cancel()
          continue
        }
        journal.leave()
        seqs.push(nextSeq++)
        // The record may or may not be on the disk that is left: it is asked for neither way.
        if (isDead()) return
        const length = seqs.length
        if (durability === 'os' && journal.immediate) survivesKill = length
        if (random.chance(0.3)) {
          const kind = random.pick(['os', 'disk'] as const)
          const acknowledged = journal.acknowledge(kind).then(() => {
            if (isDead()) return
            // The list is replaced only by a later life.
            survivesKill = Math.max(survivesKill, length)
            if (kind === 'disk' || durability === 'disk')
              survivesPowerLoss = Math.max(survivesPowerLoss, length)
          })
          if (random.chance(0.7)) await acknowledged
          else acknowledged.catch(() => undefined)
        }
        if (random.chance(0.04)) {
          // A checkpoint: all before is stable, the image moves on, older segments go.
          await journal.sync()
          if (isDead()) return
          expect(journal.stablePosition).toBeGreaterThan(before)
          from = journal.position
          seqs = []
          survivesKill = 0
          survivesPowerLoss = 0
          const { segments } = journal.stats()
          journal.recycle(from)
          if (lsnSegment(from) > lsnSegment(before) || segments > 3) counts.recycled++
        }
      }
      counts.switches += journal.stats().segmentSwitches
      if (random.chance(0.3)) {
        await journal.close()
        if (!isDead()) survivesKill = survivesPowerLoss = seqs.length
      }
    }
    const failures: unknown[] = []
    // A killed process hangs or fails, as it happens to be.
    await Promise.race([
      run().catch((error: unknown) => {
        failures.push(error)
      }),
      until(isDead),
    ])
    // What fails after the death is of no interest, but for what was found wrong.
    const failure = failures.find((error) => !isDead() || (error as Error).name === 'AssertionError')
    if (failure !== undefined) throw failure as Error
    die()
    if (!progress.hasStarted) counts.crashesInStart++
    if (byPowerLoss) counts.powerLosses++
    else counts.kills++
    disk = image()
    // A kill keeps what the operating system had, which is no more than what the last power loss left.
    survivesKill = byPowerLoss ? survivesPowerLoss : Math.max(survivesKill, survivesPowerLoss)
    least = survivesKill
    from ??= lsn(1, 0)
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
  }
}

test('a log that dies again and again keeps what it acknowledged, in order, and is never taken for damaged', async () => {
  const counts: Counts = {
    kills: 0,
    powerLosses: 0,
    crashesInStart: 0,
    switches: 0,
    recycled: 0,
    lostTails: 0,
  }
  const seeds = Number(process.env['HOLT_SEEDS'] ?? 40)
  const first = Number(process.env['HOLT_FIRST_SEED'] ?? 1)
  for (let seed = first; seed < first + seeds; seed++) {
    try {
      await liveAndDie(seed, counts)
    } catch (error) {
      throw new Error(`seed ${String(seed)}`, { cause: error })
    }
  }
  // The runs have met what they are there for.
  for (const [name, count] of Object.entries(counts)) expect(count, name).toBeGreaterThan(0)
}, 600_000)
