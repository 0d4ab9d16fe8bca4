import { defineProject } from 'vitest/config'

export default defineProject({
  test: { name: '@holt/tidy', include: ['test/**/*.test.mjs'], environment: 'node' },
})
