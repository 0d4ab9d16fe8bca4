/** Keys like an object store's: tenants, buckets, dates; 40 characters, no two alike. */

const TENANTS = 7
const BUCKETS = 11
const DAYS = 28

export function objectKeys(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => {
    const tenant = `tenant-${pad(index % TENANTS, 2)}`
    const bucket = `bucket-${pad(Math.floor(index / TENANTS) % BUCKETS, 2)}`
    const day = pad(Math.floor(index / (TENANTS * BUCKETS)) % DAYS, 2)
    return `${tenant}/${bucket}/2024/${day}/${pad(scatter(index), 8)}.bin`
  })
}

/** The same keys in an order that visits them without a pattern, each once. */
export function shuffled<T>(items: readonly T[]): readonly T[] {
  const result = [...items]
  let state = 0x9e3779b9
  for (let index = result.length - 1; index > 0; index--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const other = Math.floor((state / 2 ** 32) * (index + 1))
    const held = result[index]
    result[index] = result[other]
    result[other] = held
  }
  return result
}

/** An injection of [0, 2^26) into eight digits that looks like none. */
function scatter(index: number): number {
  return Math.imul(index, 0x2c1b3c6d) & 0x3ffffff
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, '0')
}
