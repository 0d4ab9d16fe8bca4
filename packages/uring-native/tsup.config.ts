import { packageOptions } from '@holt/tsup'
import { defineConfig } from 'tsup'

export default defineConfig(
  packageOptions({
    index: 'src/index.ts',
    conformance: 'src/conformance.ts',
    crc32c: 'src/crc32c.ts',
    'testing-faults': 'src/testing-faults.ts',
  }),
)
