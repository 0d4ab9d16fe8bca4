import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: ['packages/*', 'apps/*', 'tooling/eslint', 'tooling/tidy', 'tooling/mutants'],
    // Two workers: the suites are written for machines of two cores.
    maxWorkers: 2,
  },
})
