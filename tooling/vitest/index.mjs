/** The vitest options every package shares: packages are read from their sources, one project a package. */
export function packageProject(name, overrides = {}) {
  return {
    resolve: { conditions: ['@holt/source', 'node', 'import', 'module', 'default'] },
    ssr: { resolve: { conditions: ['@holt/source', 'node', 'import', 'module', 'default'] } },
    test: {
      name,
      include: ['test/**/*.test.ts'],
      environment: 'node',
      pool: 'forks',
      testTimeout: 60_000,
      hookTimeout: 60_000,
      ...overrides,
    },
  }
}
