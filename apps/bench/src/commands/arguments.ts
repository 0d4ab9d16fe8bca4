/** What is typed, as the commands take it. Each throws what commander shows. */
import { InvalidArgumentError } from 'commander'

import { WORKLOAD_NAMES, type WorkloadName } from '../workloads/workload.js'

const MULTIPLES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6 }

export function positiveInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number above 0 is wanted')
  return value
}

export function positiveNumber(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value < Infinity)) throw new InvalidArgumentError('a number above 0 is wanted')
  return value
}

/** `20k,500k,2m` */
export function keyCounts(text: string): readonly number[] {
  return text.split(',').map((word) => {
    const found = /^(\d+)([km]?)$/i.exec(word.trim())
    if (found === null) throw new InvalidArgumentError(`'${word}' is no number of keys such as 20k or 2m`)
    const [, digits, suffix] = found
    return positiveInteger(String(Number(digits) * MULTIPLES[suffix.toLowerCase()]))
  })
}

export function workloads(text: string): readonly WorkloadName[] {
  if (text === 'all') return WORKLOAD_NAMES
  return text.split(',').map((word) => {
    const name = WORKLOAD_NAMES.find((candidate) => candidate === word.trim())
    if (name === undefined) throw new InvalidArgumentError(`there are ${WORKLOAD_NAMES.join(', ')} and all`)
    return name
  })
}

/** Items of a list by commas, each of which has to be one of `known`. */
export function someOf(known: readonly string[]): (text: string) => readonly string[] {
  return (text) =>
    text.split(',').map((word) => {
      const name = word.trim()
      if (!known.includes(name)) throw new InvalidArgumentError(`there are ${known.join(', ')}`)
      return name
    })
}

/** A share such as `0.3`. */
export function share(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('a number between 0 and 1 is wanted')
  return value
}
