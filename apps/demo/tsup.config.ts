import { packageOptions } from '@holt/tsup'
import { defineConfig } from 'tsup'

export default defineConfig(packageOptions({ index: 'src/index.ts', 'crash-child': 'src/crash-child.ts' }))
