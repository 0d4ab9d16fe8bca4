import { programOptions } from '@holt/tsup'
import { defineConfig } from 'tsup'

/** The histories of the tests as a program, for `npm run soak`. */
export default defineConfig({
  ...programOptions({ 'history-soak': 'test/history-soak.ts' }),
  outDir: 'build/soak',
})
