import { DURABLE_OPERATIONS, OPERATIONS } from '../operations/catalog.js'
import type { Operation } from '../operations/operation.js'
import { amount, figureOf, type Figure, type Finding } from '../results/findings.js'
import { type StoreKind, storeKind, whyMissing } from '../stores/catalog.js'
import type { Durability } from '../stores/store.js'
import type { Contestant } from './contestant.js'
import { DEVICE } from './device.js'
import { evictFiles } from './files.js'
import type { Plan } from './plan.js'
import type { OpenRequest, Opened, Stall } from './protocol.js'
import { MOST_LENGTHS } from './timing.js'
import type { Workplace } from './workplace.js'

/** How often an operation is done before it is timed, to compare what the engines answer. */
const ANSWERS: Readonly<Partial<Record<string, number>>> = {
  putTogether: 2_000,
  putBatch: 2_000,
  mix: 400,
}
const ANSWERS_OTHERWISE = 200
/** A load of more keys than that is measured once, when the store is filled. */
const MOST_RELOADED_KEYS = 100_000
const WARM_UP_MS = 400
const DURABLE_KEYS = 10_000
const REOPENINGS = 5

export interface Measured {
  /** Less than was asked for where the machine has no more. */
  readonly keyCount: number
  readonly findings: readonly Finding[]
}

export type Progress = (text: string) => void

interface Taking {
  readonly kind: StoreKind
  readonly contestant: Contestant
  readonly request: OpenRequest
  readonly opened: Opened
}

/** Figures of a row while they come in. */
type Rows = Map<string, Figure[] | string>

/**
 * Runs a plan: every engine in a process of its own, turns of all engines after one another in every round, so that
 * what disturbs the machine disturbs all alike. Throws if two engines answer differently, and if holt fails; a rival
 * that fails is left out, with the reason in its place.
 */
export async function measurePlan(plan: Plan, place: Workplace, say: Progress): Promise<Measured> {
  const findings: Finding[] = []
  const failures = new Map<string, string>()
  for (const kind of plan.stores.map(storeKind)) {
    const reason = whyMissing(kind)
    if (reason !== undefined) failures.set(kind.name, `not installed: ${reason}`)
  }

  say('loading')
  const taking = await openAll(plan, place, 'os', plan.keyCount, failures)
  findings.push(await measureLoads(plan, taking, failures, say))
  const operations = OPERATIONS.filter(({ name }) => plan.only?.includes(name) ?? true)
  // All of them before the first is timed: afterwards everybody holds what it had time to write.
  say('comparing answers')
  for (const operation of operations) await compareAnswers(taking, operation, failures)
  for (const operation of operations) {
    findings.push(await measureOperation(plan, taking, operation, failures, say))
  }
  if (plan.only === undefined) {
    findings.push(...(await measureStalls(plan, taking, failures, say)))
    findings.push(...(await measureFiles(plan, taking, place, failures, say)))
    findings.push(...(await measureDurable(plan, place, failures, say)))
  }
  for (const { contestant } of taking) await place.end(contestant)
  return { keyCount: taking[0].opened.keyCount, findings }
}

async function openAll(
  plan: Plan,
  place: Workplace,
  durability: Durability,
  keyCount: number,
  failures: Map<string, string>,
): Promise<readonly Taking[]> {
  const taking: Taking[] = []
  for (const kind of plan.stores.map(storeKind)) {
    if (failures.has(kind.name) || (durability === 'disk' && !kind.isPersistent)) continue
    const contestant = place.start(kind.name)
    const request: OpenRequest = {
      store: kind.name,
      directory: place.newDirectory(kind.name),
      durability,
      cacheBytes: plan.cacheBytes,
      workload: { name: plan.workload, keyCount, root: plan.root },
    }
    const opened = await attempt(kind.name, failures, () => contestant.ask('open', request))
    if (opened === undefined) await place.end(contestant)
    else taking.push({ kind, contestant, request, opened })
  }
  return taking
}

/** What a rival does wrong is written down; what holt does wrong ends the run. */
async function attempt<T>(
  name: string,
  failures: Map<string, string>,
  work: () => Promise<T>,
): Promise<T | undefined> {
  if (failures.has(name)) return undefined
  try {
    return await work()
  } catch (error) {
    if (storeKind(name).rivalPackage === undefined) throw error
    failures.set(name, `failed: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`)
    return undefined
  }
}

function rowsFor(stores: readonly string[], failures: ReadonlyMap<string, string>): Rows {
  return new Map(stores.map((name) => [name, failures.get(name) ?? []]))
}

function add(rows: Rows, name: string, figure: Figure): void {
  const row = rows.get(name)
  if (row !== undefined && typeof row !== 'string') row.push(figure)
}

/** A round in which everybody has a turn; a negative one does not count. */
async function takeRound(
  taking: readonly Taking[],
  failures: Map<string, string>,
  rows: Rows,
  round: number,
  turn: (taking: Taking) => Promise<Figure>,
): Promise<void> {
  // Who comes first changes, so that nobody always follows the same neighbour.
  for (let step = 0; step < taking.length; step++) {
    const next = taking[(step + round + 1) % taking.length]
    const { name } = next.kind
    const figure = await attempt(name, failures, () => turn(next))
    if (figure === undefined) rows.set(name, failures.get(name) ?? 'failed')
    else if (round >= 0) add(rows, name, figure)
  }
}

async function measureLoads(
  plan: Plan,
  taking: readonly Taking[],
  failures: Map<string, string>,
  say: Progress,
): Promise<Finding> {
  const rows = rowsFor(plan.stores, failures)
  if (plan.keyCount > MOST_RELOADED_KEYS) {
    for (const { kind, opened } of taking) add(rows, kind.name, figureOf(opened.loaded))
  } else {
    say('load, per key')
    for (let round = -1; round < plan.rounds; round++) {
      await takeRound(taking, failures, rows, round, async ({ contestant, request }) =>
        figureOf(await contestant.ask('load', request)),
      )
    }
  }
  return { name: 'load', title: 'load, random order, per key', unit: 'ns', measure: 'cpu', byStore: rows }
}

async function measureOperation(
  plan: Plan,
  taking: readonly Taking[],
  operation: Operation,
  failures: Map<string, string>,
  say: Progress,
): Promise<Finding> {
  const { name, title } = operation
  const rows = rowsFor(plan.stores, failures)
  for (const { kind, opened } of taking) {
    if (name in opened.missing) rows.set(kind.name, opened.missing[name])
  }
  say(title)
  const able = taking.filter(({ opened }) => !(name in opened.missing))
  for (let round = -1; round < plan.rounds; round++) {
    // Before the first that counts, until the compiler has done its work.
    const amount = round < 0 ? Math.max(plan.turnMs, WARM_UP_MS) : plan.turnMs
    await takeRound(able, failures, rows, round, async ({ contestant }) =>
      figureOf(await contestant.ask('turn', { operation: name, amount })),
    )
  }
  return { name, title, unit: 'ns', measure: 'cpu', byStore: rows }
}

/** Everybody does the same calls; who answers differently measures something else. */
async function compareAnswers(
  taking: readonly Taking[],
  { name }: Operation,
  failures: Map<string, string>,
): Promise<void> {
  const digests: (readonly [store: string, digest: string])[] = []
  for (const { kind, contestant, opened } of taking) {
    if (name in opened.missing) continue
    const found = await attempt(kind.name, failures, () =>
      contestant.ask('answers', { operation: name, amount: ANSWERS[name] ?? ANSWERS_OTHERWISE }),
    )
    if (found !== undefined) digests.push([kind.name, found.digest])
  }
  const different = new Set(digests.map(([, digest]) => digest))
  if (different.size > 1) {
    const list = digests.map(([store, digest]) => `${store} ${digest}`).join(', ')
    throw new Error(`the engines answer '${name}' differently: ${list}`)
  }
}

async function measureStalls(
  plan: Plan,
  taking: readonly Taking[],
  failures: Map<string, string>,
  say: Progress,
): Promise<readonly Finding[]> {
  const p999 = rowsFor(plan.stores, failures)
  const worst = rowsFor(plan.stores, failures)
  const remarks = new Map<string, string>()
  say('stall of the event loop')
  for (const { kind, contestant } of taking) {
    if (!kind.isPersistent) continue
    const stall = await attempt(kind.name, failures, () =>
      contestant.ask('stall', { lengthMs: plan.stallMs }),
    )
    if (stall === undefined) continue
    const above = (loaded: number, control: number): Figure => amount(Math.max(0, loaded - control))
    add(p999, kind.name, above(stall.loaded.p999, stall.control.p999))
    add(worst, kind.name, above(stall.loaded.worst, stall.control.worst))
    remarks.set(kind.name, describeWorst(stall))
  }
  const row = (name: string, title: string, byStore: Rows): Finding => ({
    ...{ name, title, byStore },
    ...{ unit: 'ms', measure: 'amount' },
  })
  return [
    row('stallP999', 'stall of the event loop above a control loop, p99.9', p999),
    { ...row('stallWorst', 'the same, worst', worst), remarks },
  ]
}

function describeWorst({ loaded, control }: Stall): string {
  const ms = (value: number): string => `${value.toFixed(1)} ms`
  const { atMs, ranMs, stoodStillMs, switches, waitedMs, collectedMs } = loaded.worstTurn
  return (
    `the longest of ${String(loaded.turns)} turns, ${(atMs / 1_000).toFixed(1)} s after the first, ran ${ms(ranMs)} ` +
    `and stood still ${ms(stoodStillMs)}, put on a processor ${String(switches)} times; ` +
    `besides it waited ${ms(waitedMs)} for a processor; for ${ms(collectedMs)} of all this the collector was at work; ` +
    `the control's longest was ${ms(control.worst)}`
  )
}

async function measureFiles(
  plan: Plan,
  taking: readonly Taking[],
  place: Workplace,
  failures: Map<string, string>,
  say: Progress,
): Promise<readonly Finding[]> {
  const names = plan.stores
  const [disk, warm, evicted, resident] = [0, 1, 2, 3].map(() => rowsFor(names, failures))
  say('bytes on disk')
  for (const { kind, contestant, opened } of taking) {
    const finished = await attempt(kind.name, failures, () => contestant.ask('finish', { compact: true }))
    if (finished !== undefined && kind.isPersistent)
      add(disk, kind.name, amount(finished.diskBytes / opened.keyCount))
    await place.end(contestant)
  }
  say('open and first get')
  for (let round = 0; round < REOPENINGS; round++) {
    for (const { kind, request, opened } of taking) {
      if (!kind.isPersistent) continue
      for (const rows of [evicted, warm]) {
        const reason = rows === evicted ? evictFiles(request.directory) : undefined
        if (reason !== undefined) {
          rows.set(kind.name, `files cannot be evicted here: ${reason}`)
          continue
        }
        // A process of its own, as it is when a program starts.
        const contestant = place.start(kind.name)
        const reopened = await attempt(kind.name, failures, () =>
          contestant.ask('reopen', { ...request, key: opened.someKey }),
        )
        await place.end(contestant)
        if (reopened !== undefined) add(rows, kind.name, amount(reopened.openMs))
      }
    }
  }
  say('resident bytes')
  for (const { kind, request } of taking) {
    if (!kind.isPersistent) continue
    const contestant = place.start(kind.name)
    const read = await attempt(kind.name, failures, () => contestant.ask('readAll', request))
    await place.end(contestant)
    if (read !== undefined) add(resident, kind.name, amount(read.residentBytes / read.keyCount))
  }
  const row = (name: string, title: string, unit: string, byStore: Rows): Finding => ({
    ...{ name, title, unit, byStore },
    measure: 'amount',
  })
  return [
    row('diskBytes', 'bytes on disk per key, compacted and closed', 'B', disk),
    row('openWarm', 'open and first get, modules loaded, files in the page cache', 'ms', warm),
    row('openEvicted', 'open and first get, modules loaded, files evicted', 'ms', evicted),
    row('residentBytes', 'resident bytes per key, all keys read', 'B', resident),
  ]
}

async function measureDurable(
  plan: Plan,
  place: Workplace,
  failures: Map<string, string>,
  say: Progress,
): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  const taking = await openAll(plan, place, 'disk', Math.min(plan.keyCount, DURABLE_KEYS), failures)
  const probe = place.start(DEVICE)
  const directory = place.newDirectory(DEVICE)
  for (const operation of DURABLE_OPERATIONS) {
    const { name, title } = operation
    say(title)
    const rows = rowsFor([...plan.stores, DEVICE], failures)
    for (let round = -1; round < plan.rounds; round++) {
      // As long as the turns of engines that do nothing but wait for it.
      const timing = await probe.ask('probe', { directory, lengthMs: plan.turnMs * MOST_LENGTHS })
      if (round >= 0) add(rows, DEVICE, figureOf(timing, 1_000))
      await takeRound(taking, failures, rows, round, async ({ contestant }) =>
        figureOf(await contestant.ask('turn', { operation: name, amount: plan.turnMs }), 1_000),
      )
    }
    findings.push({ name, title, unit: 'µs', measure: 'wall', byStore: rows })
  }
  for (const contestant of [probe, ...taking.map((one) => one.contestant)]) await place.end(contestant)
  return findings
}
