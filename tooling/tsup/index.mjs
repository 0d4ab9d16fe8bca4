/**
 * The tsup options every package shares: ESM for Node 20, types, source maps.
 * @param {Record<string, string>} entry output name to source file
 */
export function packageOptions(entry) {
  return {
    entry,
    format: ['esm'],
    target: 'node20',
    platform: 'node',
    dts: { compilerOptions: { customConditions: [] } },
    sourcemap: true,
    clean: true,
    splitting: true,
    treeshake: true,
  }
}

/**
 * The same for programs, whose types nobody imports.
 * @param {Record<string, string>} entry output name to source file
 */
export function programOptions(entry) {
  return { ...packageOptions(entry), dts: false }
}
