import type { WorkloadKeys } from './workload.js'

/** Directly below a tenant. */
const BUCKETS = 8
const DAYS = 28
/** Objects of a tenant, its buckets and days together. */
const TENANT_OBJECTS = 2_500

/** Names as an object store has them: tenant, bucket, day, object; 40 characters. Below a tenant lie eight buckets. */
export function objectStoreKeys(keyCount: number, absentCount: number): WorkloadKeys {
  const tenants = Math.max(1, Math.round(keyCount / TENANT_OBJECTS))
  const name = (index: number, extension: string): string => {
    const bucket = index % BUCKETS
    const tenant = Math.floor(index / BUCKETS) % tenants
    const day = Math.floor(index / (BUCKETS * tenants)) % DAYS
    return `${tenantPrefix(tenant)}bucket-${pad(bucket, 2)}/2024/${pad(day, 2)}/${pad(scatter(index), 8)}.${extension}`
  }
  return {
    keys: Array.from({ length: keyCount }, (_, index) => name(index, 'bin')),
    absent: Array.from({ length: absentCount }, (_, index) => name(index, 'tmp')),
    directories: Array.from({ length: Math.min(tenants, keyCount) }, (_, tenant) => tenantPrefix(tenant)),
  }
}

function tenantPrefix(tenant: number): string {
  return `team-${pad(tenant, 4)}/`
}

/** An injection of [0, 2^26) that looks like none. */
function scatter(index: number): number {
  return Math.imul(index, 0x2c1b3c6d) & 0x3ffffff
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, '0')
}
