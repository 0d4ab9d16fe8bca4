import { defineProject } from 'vitest/config'

export default defineProject({
  test: { name: '@holt/mutants', include: ['test/**/*.test.mjs'], environment: 'node' },
})
