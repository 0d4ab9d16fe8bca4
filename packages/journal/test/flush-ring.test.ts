/** Numbers are those of the table in the README. */
import { describe, expect, test } from 'vitest'
import {
  FlushRing,
  FLUSHING,
  HANDED_OVER,
  OFFSET,
  OWNER_REGISTERS,
  SEALED,
  STATE_BITS,
  WRITER,
  WRITERS,
} from '../src/flush-ring.js'
import {
  EXHAUSTED,
  LEFT,
  type Outcome,
  PENDING,
  REGISTERS,
  RESERVED,
  RingEntry,
  SHUT,
} from '../src/ring-entry.js'
import { seeded } from './fixtures.js'
import { BELL, CURRENT, RingMemory, UNIT_BYTES } from '../src/ring-memory.js'

function ringOf(buffers: number, unitsPerBuffer: number, appenders: number): RingMemory {
  const bufferBytes = unitsPerBuffer * UNIT_BYTES
  return RingMemory.make({ buffers, bufferBytes, appenders, results: 1, maxRecordBytes: bufferBytes })
}

// What a writer is doing.
const IDLE = 0
const STEPPING = 1
const COPIES_FIRST_HALF = 2
const COPIES_REST = 3
const WAITS = 4
const DONE = 5
const DEAD = 6
const COUNTED_OUT = 7
const REFUSED = 8

// Where its numbers stand in a world's `numbers`.
const DOING = REGISTERS
const RECORD = REGISTERS + 1
const FREES_SEEN = REGISTERS + 2
const HAS_COMMITTED = REGISTERS + 3
const NUMBERS = REGISTERS + 4

interface Plan {
  readonly buffers: number
  readonly unitsPerBuffer: number
  /** Of each writer: the lengths of its records, in bytes. */
  readonly writers: readonly (readonly number[])[]
  /** So many of the writers may end at any step. */
  readonly mayDie?: number
  /** The owner may shut the ring at any step. */
  readonly mayShut?: boolean
}

/** Writers and an owner of a small ring, whose every state can be kept and brought back. */
class World {
  readonly #plan: Plan
  readonly #memory: RingMemory
  readonly #ring: FlushRing
  readonly #ownerRegisters = new Int32Array(OWNER_REGISTERS)
  readonly #entries: RingEntry[]
  /** All there is to be kept of a state. */
  readonly #parts: readonly Int32Array[]
  readonly #registers: Int32Array<ArrayBuffer>[]
  /** Of each writer; then how often a buffer was given back, and whether the ring was shut. */
  readonly #numbers: Int32Array<ArrayBuffer>
  /** Of each writer: how many of its records the owner has taken. */
  readonly #taken: Int32Array<ArrayBuffer>

  constructor(plan: Plan) {
    this.#plan = plan
    this.#memory = ringOf(plan.buffers, plan.unitsPerBuffer, plan.writers.length)
    this.#ring = new FlushRing(this.#memory, this.#ownerRegisters)
    this.#numbers = new Int32Array(plan.writers.length * NUMBERS + 2)
    this.#taken = new Int32Array(plan.writers.length)
    this.#registers = plan.writers.map((_, i) => this.#numbers.subarray(i * NUMBERS, i * NUMBERS + REGISTERS))
    this.#parts = [this.#memory.words, this.#ownerRegisters, this.#numbers, this.#taken]
    // The owner of this world does not sleep.
    this.#memory.words[BELL] = 1
    this.#entries = plan.writers.map((_, i) => new RingEntry(this.#memory, i, this.#registers[i]))
  }

  save(): Int32Array<ArrayBuffer> {
    const saved = new Int32Array(this.#parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of this.#parts) {
      saved.set(part, at)
      at += part.length
    }
    return saved
  }

  restore(saved: Int32Array): void {
    let at = 0
    for (const part of this.#parts) {
      part.set(saved.subarray(at, at + part.length))
      at += part.length
    }
  }

  /** How many actions there are; not each of them can happen in every state. */
  get actionCount(): number {
    return 2 * this.#plan.writers.length + 3
  }

  /** Takes an action; false if it cannot happen now. */
  act(action: number): boolean {
    const writers = this.#plan.writers.length
    if (action < writers) return this.#advanceIfPossible(action)
    if (action < 2 * writers) return this.#dieOrCountOut(action - writers)
    switch (action - 2 * writers) {
      case 0:
        if (!this.#ring.hasNext) return false
        this.#take()
        return true
      case 1:
        this.#ring.sealCurrent()
        return true
      default:
        if (this.#plan.mayShut !== true || this.#isShut) return false
        this.#ring.shut()
        this.#numbers[this.#numbers.length - 1] = 1
        return true
    }
  }

  #advanceIfPossible(writer: number): boolean {
    const doing = this.#number(writer, DOING)
    if (doing >= DONE || (doing === WAITS && this.#number(writer, FREES_SEEN) === this.#frees)) return false
    if (doing === IDLE && this.#number(writer, RECORD) === this.#plan.writers[writer].length)
      this.#set(writer, DOING, DONE)
    else this.#advance(writer)
    return true
  }

  #dieOrCountOut(writer: number): boolean {
    const doing = this.#number(writer, DOING)
    if (doing === DEAD) {
      const gone = (other: number): boolean => this.#number(other, DOING) === DEAD
      if (this.#ring.countOut(writer, gone)) this.#set(writer, DOING, COUNTED_OUT)
      return true
    }
    if (writer >= (this.#plan.mayDie ?? 0) || doing > DONE) return false
    this.#set(writer, DOING, DEAD)
    return true
  }

  /** Holds at every moment. */
  check(): void {
    let openBuffers = 0
    for (let buffer = 0; buffer < this.#plan.buffers; buffer++) {
      const word = this.#memory.words[this.#memory.stateAt(buffer)]
      if ((word & STATE_BITS) === 0) openBuffers++
      if ((word & STATE_BITS) === FLUSHING) continue
      if ((word & OFFSET) > this.#plan.unitsPerBuffer) throw new Error('the offset is behind the buffer')
      if ((word & WRITERS) / WRITER > this.#plan.writers.length) throw new Error('too many are inside')
      if ((word & STATE_BITS) === HANDED_OVER && (word & WRITERS) !== 0)
        throw new Error('handed over with a writer inside')
      if ((word & STATE_BITS) === SEALED && (word & WRITERS) === 0)
        throw new Error('sealed and left by all, but not handed over')
    }
    if (openBuffers > 1) throw new Error('two buffers are open')
  }

  /** Holds once nothing can happen any more. */
  checkEnd(): void {
    for (const [writer, records] of this.#plan.writers.entries()) {
      const doing = this.#number(writer, DOING)
      const complete = this.#number(writer, RECORD) + this.#number(writer, HAS_COMMITTED)
      const isOver = doing === DONE || doing === COUNTED_OUT || doing === REFUSED
      if (!isOver) throw new Error(`writer ${String(writer)} is stuck: ${String(doing)}`)
      if (doing === DONE && complete !== records.length) throw new Error('done before its time')
      if (this.#taken[writer] !== complete)
        throw new Error(
          `of writer ${String(writer)} ${String(this.#taken[writer])} of ${String(complete)} were taken`,
        )
    }
    if (this.#isShut && !this.#ring.isEmptied) throw new Error('shut, but never emptied')
  }

  get #frees(): number {
    return this.#numbers[this.#numbers.length - 2]
  }

  get #isShut(): boolean {
    return this.#numbers[this.#numbers.length - 1] !== 0
  }

  #number(writer: number, which: number): number {
    return this.#numbers[writer * NUMBERS + which]
  }

  #set(writer: number, which: number, value: number): void {
    this.#numbers[writer * NUMBERS + which] = value
  }

  #advance(writer: number): void {
    const entry = this.#entries[writer]
    const record = this.#number(writer, RECORD)
    const lengthBytes = this.#plan.writers[writer][record]
    const middle = Math.floor(lengthBytes / 2)
    const name = (writer << 4) | record
    switch (this.#number(writer, DOING)) {
      case IDLE:
      case WAITS:
        this.#set(writer, FREES_SEEN, this.#frees)
        this.#set(writer, DOING, STEPPING)
        entry.begin(lengthBytes)
        return
      case COPIES_FIRST_HALF:
        this.#memory.bytes.fill(name + 1, entry.atBytes, entry.atBytes + middle)
        this.#set(writer, DOING, COPIES_REST)
        return
      case COPIES_REST:
        this.#memory.bytes.fill(name + 1, entry.atBytes + middle, entry.atBytes + lengthBytes)
        this.#set(writer, DOING, STEPPING)
        return
      default:
        this.#told(writer, entry.step())
    }
  }

  #told(writer: number, outcome: Outcome): void {
    const seen = this.#number(writer, FREES_SEEN)
    if (outcome !== PENDING && outcome !== RESERVED) this.#forget(writer)
    if (outcome === RESERVED) this.#set(writer, DOING, COPIES_FIRST_HALF)
    else if (outcome === EXHAUSTED) {
      this.#set(writer, DOING, WAITS)
      this.#set(writer, FREES_SEEN, seen)
    } else if (outcome === SHUT) this.#set(writer, DOING, REFUSED)
    else if (outcome === LEFT) {
      this.#set(writer, DOING, IDLE)
      this.#set(writer, HAS_COMMITTED, 0)
      this.#set(writer, RECORD, this.#number(writer, RECORD) + 1)
    } else {
      // The commit word of its record is there: from now on it is complete, whatever becomes of its writer.
      const [stage] = this.#registers[writer]
      if (stage === STAGE_BEHIND_COMMIT) this.#set(writer, HAS_COMMITTED, 1)
    }
  }

  /** What an entry knows of an attempt that is over; it would only make more states of the same kind. */
  #forget(writer: number): void {
    this.#registers[writer].fill(0, 1)
    this.#set(writer, FREES_SEEN, 0)
  }

  #take(): void {
    this.#ring.visitNext((writer, bytes) => {
      const name = bytes[0] - 1
      const lengthBytes = this.#plan.writers[writer][name & 15]
      if (name >> 4 !== writer || bytes.length !== lengthBytes || bytes.some((byte) => byte !== name + 1))
        throw new Error(`a record of writer ${String(writer)} is not whole: ${bytes.join()}`)
      if ((name & 15) !== this.#taken[writer]++) throw new Error('not in the order of the calls')
      // What lies there of an earlier life would only make more states of the same kind.
      bytes.fill(0)
    })
    this.#ring.giveBack()
    this.#numbers[this.#numbers.length - 2]++
  }
}

/** The stage that an entry has when it has just written its commit word; told by a walk through one append. */
const STAGE_BEHIND_COMMIT = ((): number => {
  const registers = new Int32Array(REGISTERS)
  const memory = ringOf(2, 2, 1)
  const entry = new RingEntry(memory, 0, registers)
  entry.begin(8)
  expect(entry.run()).toBe(RESERVED)
  entry.step()
  expect(memory.words[memory.commitAt(0, 0)]).not.toBe(0)
  return registers[0]
})()

/** So many take some seconds. */
const MOST_STATES = 400_000

/** Goes through every order of steps; returns how many states there are. */
function explore(plan: Plan): number {
  const world = new World(plan)
  const start = world.save()
  const seen = new Set<string>()
  const keyOf = (saved: Int32Array<ArrayBuffer>): string => Buffer.from(saved.buffer).toString('latin1')
  const open: Int32Array<ArrayBuffer>[] = [start]
  seen.add(keyOf(start))
  for (let saved = open.pop(); saved !== undefined; saved = open.pop()) {
    const savedKey = keyOf(saved)
    let goesOn = false
    for (let action = 0; action < world.actionCount; action++) {
      world.restore(saved)
      if (!world.act(action)) continue
      world.check()
      const next = world.save()
      const key = keyOf(next)
      if (key === savedKey) continue
      goesOn = true
      if (seen.has(key)) continue
      seen.add(key)
      if (seen.size > MOST_STATES) throw new Error('too many states to go through all of them')
      open.push(next)
    }
    if (goesOn) continue
    world.restore(saved)
    world.checkEnd()
  }
  return seen.size
}

/** Goes through one order of steps, by chance. */
function walk(plan: Plan, random: () => number): void {
  const world = new World(plan)
  const actions = Array.from({ length: world.actionCount }, (_, action) => action)
  for (;;) {
    const saved = world.save()
    // Most steps are the writers'; the others happen now and then.
    const first = Math.floor(random() * (random() < 0.8 ? plan.writers.length : actions.length))
    world.act(first)
    world.check()
    const isStuck = (): boolean =>
      actions.every((action) => {
        world.restore(saved)
        world.act(action)
        return Buffer.compare(Buffer.from(world.save().buffer), Buffer.from(saved.buffer)) === 0
      })
    if (Buffer.compare(Buffer.from(world.save().buffer), Buffer.from(saved.buffer)) !== 0) continue
    if (isStuck()) break
    world.restore(saved)
  }
  world.checkEnd()
}

describe('the flush-buffer ring, in every order of its steps', () => {
  test.each([
    ['records that fit in pairs', 2, [[8, 8], [8]]],
    ['records that leave a rest too small for the next', 2, [[8, 16], [16]]],
    ['records as large as a buffer', 1, [[8, 8], [8]]],
  ] as const)(
    'E9.2 loses none, mixes none and keeps each writer’s order: %s',
    (_, unitsPerBuffer, writers) => {
      expect(explore({ buffers: 2, unitsPerBuffer, writers })).toBeGreaterThan(1000)
    },
  )

  test.each([
    ['one beside one other', 2, 1, [[8], [8, 8]]],
    ['one with large records', 2, 1, [[16], [8, 16]]],
    ['two, in one buffer or in two', 2, 2, [[8], [8]]],
  ] as const)(
    'E9.3 a writer that ends at any step leaves a hole at most, and stops nobody: %s',
    (_, unitsPerBuffer, mayDie, writers) => {
      expect(explore({ buffers: 2, unitsPerBuffer, writers, mayDie })).toBeGreaterThan(1000)
    },
  )

  test('E9.4 shut at any step, it gives out all that was appended before, and refuses the rest', () => {
    expect(
      explore({ buffers: 2, unitsPerBuffer: 2, writers: [[8, 8], [16]], mayShut: true }),
    ).toBeGreaterThan(1000)
    const both = { mayShut: true, mayDie: 1 }
    expect(explore({ buffers: 2, unitsPerBuffer: 2, writers: [[8], [16]], ...both })).toBeGreaterThan(1000)
  })
})

test('E9.5 nor do four writers of many records, two of which may end, and a ring that may be shut: by chance', () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = seeded(seed)
    const lengths = (): number[] => Array.from({ length: 6 }, () => 8 + Math.floor(random() * 3) * 8)
    const plan: Plan = {
      buffers: random() < 0.5 ? 2 : 4,
      unitsPerBuffer: 3,
      writers: [lengths(), lengths(), lengths(), lengths()],
      mayDie: Math.floor(random() * 3),
      mayShut: random() < 0.2,
    }
    walk(plan, random)
  }
})

describe('the state word of a flush buffer', () => {
  test('E8.1 one word says offset, writers inside, sealed and handed over', () => {
    const memory = ringOf(2, 4, 3)
    const wordOf = (buffer: number): number => memory.words[memory.stateAt(buffer)]
    const ring = new FlushRing(memory)
    expect([wordOf(0), wordOf(1)]).toEqual([0, FLUSHING | 1])
    const [a, b] = [0, 1].map((appender) => new RingEntry(memory, appender))
    a.begin(9)
    expect(a.run()).toBe(RESERVED)
    expect(wordOf(0)).toBe(WRITER + 2)
    b.begin(0)
    expect(b.run()).toBe(RESERVED)
    expect(wordOf(0)).toBe(2 * WRITER + 3)
    expect(b.atBytes - a.atBytes).toBe(16)
    expect(b.run()).toBe(LEFT)
    expect(wordOf(0)).toBe(WRITER + 3)
    ring.sealCurrent()
    expect(wordOf(0)).toBe(SEALED | (WRITER + 3) | 0)
    expect(ring.hasNext).toBe(false)
    expect(a.run()).toBe(LEFT)
    expect(wordOf(0)).toBe(HANDED_OVER | 3)
    expect(ring.hasNext).toBe(true)
    ring.visitNext(() => undefined)
    ring.giveBack()
    expect(wordOf(0)).toBe(FLUSHING | 2)
  })

  test('E8.2 whoever does not fit, how often ever, moves no offset', () => {
    const memory = ringOf(2, 4, 2)
    expect(new FlushRing(memory).hasNext).toBe(false)
    const entry = new RingEntry(memory, 0)
    const other = new RingEntry(memory, 1)
    const put = (one: RingEntry, lengthBytes: number): Outcome => {
      one.begin(lengthBytes)
      const outcome = one.run()
      return outcome === RESERVED ? one.run() : outcome
    }
    expect([put(entry, 24), put(entry, 24)]).toEqual([LEFT, LEFT])
    for (let i = 0; i < 5000; i++) expect([put(entry, 32), put(other, 16)]).toEqual([EXHAUSTED, EXHAUSTED])
    for (const buffer of [0, 1]) expect(memory.words[memory.stateAt(buffer)]).toBe(HANDED_OVER | 3)
  })

  test('E10.2 tells: reserved, exhausted until the owner gives a buffer back, shut', () => {
    const memory = ringOf(2, 1, 1)
    const ring = new FlushRing(memory)
    const entry = new RingEntry(memory, 0)
    const put = (): Outcome => {
      entry.begin(8)
      const outcome = entry.run()
      return outcome === RESERVED ? entry.run() : outcome
    }
    expect([put(), put(), put(), put()]).toEqual([LEFT, LEFT, EXHAUSTED, EXHAUSTED])
    const visited: number[] = []
    ring.visitNext((_, bytes) => visited.push(bytes.length))
    ring.giveBack()
    expect([put(), put()]).toEqual([LEFT, EXHAUSTED])
    ring.shut()
    expect(put()).toBe(SHUT)
    while (ring.hasNext) {
      ring.visitNext((_, bytes) => visited.push(bytes.length))
      ring.giveBack()
    }
    expect(visited).toEqual([8, 8, 8])
    expect(ring.isEmptied).toBe(true)
  })

  test('E8.3 generations may wrap around', () => {
    const memory = ringOf(4, 1, 1)
    const registers = new Int32Array(OWNER_REGISTERS)
    const ring = new FlushRing(memory, registers)
    // As if 2^30 - 4 buffers had been used: a multiple of their number.
    const near = 2 ** 30 - 4
    registers[0] = near
    Atomics.store(memory.words, CURRENT, near)
    for (let i = 1; i < 4; i++) memory.words[memory.stateAt(i)] = FLUSHING | (near + i)
    const entry = new RingEntry(memory, 0)
    const taken: number[] = []
    for (let i = 0; i < 20; i++) {
      entry.begin(1)
      expect(entry.run()).toBe(RESERVED)
      memory.bytes[entry.atBytes] = i
      expect(entry.run()).toBe(LEFT)
      ring.sealCurrent()
      const before = ring.current
      expect(ring.hasTaken(before)).toBe(false)
      expect(ring.hasNext).toBe(true)
      ring.visitNext((_, bytes) => taken.push(bytes[0]))
      ring.giveBack()
      expect(ring.hasTaken(before)).toBe(true)
    }
    expect(taken).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(ring.current).toBeLessThan(30)
  })
})
