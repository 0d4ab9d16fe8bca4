import { programOptions } from '@holt/tsup'
import { defineConfig } from 'tsup'

export default defineConfig(
  programOptions({
    index: 'src/index.ts',
    child: 'src/run/child.ts',
    'shared-reader': 'src/shared/reader.ts',
    'bulk-child': 'src/bulk/child.ts',
    'durability-child': 'src/durability/child.ts',
  }),
)
