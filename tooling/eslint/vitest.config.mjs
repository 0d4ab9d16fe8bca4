import { defineProject } from 'vitest/config'

export default defineProject({
  test: { name: '@holt/eslint', include: ['test/**/*.test.mjs'], environment: 'node' },
})
