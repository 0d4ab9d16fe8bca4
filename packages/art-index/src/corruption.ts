import { HoltError } from '@holt/errors'

/** A frame's bytes cannot be what the index wrote. */
export function corruptNode(id: number, ref: number, found: string): HoltError {
  return new HoltError('HOLT_CORRUPT', `blob ${String(id)}, ref ${String(ref)}: ${found}`)
}
