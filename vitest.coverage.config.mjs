import { defineConfig } from 'vitest/config'

/** `npm run coverage`: what decides which writes are there after a crash has no branch that the tests of its package do not take. */
export default defineConfig({
  test: {
    projects: ['packages/journal', 'packages/blob-store', 'packages/checkpointer'],
    maxWorkers: 2,
    coverage: {
      enabled: true,
      provider: 'v8',
      include: [
        'packages/blob-store/src/manifest-*.ts',
        'packages/journal/src/{record,recovery,replay,segment-header,segment-names,segment-reader,tail-rewrite}.ts',
        'packages/checkpointer/src/{epoch-committer,epoch-pipeline,group-commit}.ts',
      ],
      reporter: ['text'],
      reportsDirectory: 'build/coverage',
      thresholds: { branches: 100 },
    },
  },
})
