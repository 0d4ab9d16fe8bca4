import { packageOptions } from '@holt/tsup'
import { defineConfig } from 'tsup'

export default defineConfig(
  packageOptions({
    index: 'src/index.ts',
    conformance: 'src/conformance.ts',
    'file-blob-store-worker': 'src/file-blob-store-worker.ts',
  }),
)
