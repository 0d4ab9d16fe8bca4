import { packageOptions } from '@holt/tsup'
import { defineConfig } from 'tsup'

export default defineConfig(packageOptions({ index: 'src/index.ts', 'kill-child': 'src/kill-child.ts' }))
