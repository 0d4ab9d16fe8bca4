import { programOptions } from '@holt/tsup'
import { defineConfig } from 'tsup'

export default defineConfig(programOptions({ index: 'src/index.ts', 'crash-child': 'src/crash-child.ts' }))
