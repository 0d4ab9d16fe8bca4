/**
 * The arrows between the packages, written down once. The lint rule (`layer-rule.mjs`) judges every import by this table and
 * `scripts/tidy.mjs` every `package.json`.
 *
 *   holt ──► checkpointer ──► journal ───────► uring-native ──► errors
 *     │           └─────────► blob-store ────► blob-buf-pool ─► errors
 *     └─────► art-index ────► blob-buf-pool, uring-native/crc32c
 *
 * test-harness and the apps stand above all of them. An entry is a package name, which allows all of its entry points, or one
 * entry point written out, which allows that one only.
 */
const BOTTOM = ['@holt/errors']
const ENGINE = [
  ...BOTTOM,
  '@holt/uring-native',
  '@holt/blob-buf-pool',
  '@holt/blob-store',
  '@holt/journal',
  '@holt/art-index',
  '@holt/checkpointer',
]

/** @type {Readonly<Record<string, readonly string[]>>} */
export const LAYERS = {
  '@holt/errors': [],
  '@holt/uring-native': BOTTOM,
  '@holt/blob-buf-pool': BOTTOM,
  '@holt/blob-store': [...BOTTOM, '@holt/uring-native', '@holt/blob-buf-pool'],
  '@holt/journal': [...BOTTOM, '@holt/uring-native', '@holt/blob-buf-pool'],
  // Neither disk nor journal: the index gets its checksum from a subpath without I/O.
  '@holt/art-index': [...BOTTOM, '@holt/blob-buf-pool', '@holt/uring-native/crc32c'],
  '@holt/checkpointer': [
    ...BOTTOM,
    '@holt/journal',
    '@holt/blob-store',
    '@holt/blob-buf-pool',
    '@holt/uring-native',
  ],
  holt: ENGINE,
  '@holt/test-harness': [...ENGINE, 'holt'],
  '@holt/demo': [...ENGINE, 'holt', '@holt/test-harness'],
  '@holt/bench': [...ENGINE, 'holt', '@holt/test-harness'],
}

/** Configuration shared by the packages: holds no engine code, so anybody may use it. */
export const TOOLING = ['@holt/tsup', '@holt/vitest', '@holt/tsconfig', '@holt/eslint']

/**
 * Packages whose `src` may touch the disk through `node:fs`. All others go through the `Io` they are given, or a simulated disk
 * could not drive them.
 */
export const MAY_USE_NODE_FS = ['@holt/uring-native', '@holt/test-harness', '@holt/demo', '@holt/bench']

/**
 * The package a specifier names: `@holt/journal/x` is `@holt/journal`, `holt/y` is `holt`.
 * @param {string} specifier
 */
export function packageOf(specifier) {
  const [first = '', second = ''] = specifier.split('/')
  return first.startsWith('@') ? `${first}/${second}` : first
}

/**
 * Whether a specifier names one of ours.
 * @param {string} specifier
 */
export function isOurs(specifier) {
  const name = packageOf(specifier)
  return name === 'holt' || name.startsWith('@holt/')
}

/**
 * Whether a package may import a specifier of ours.
 * @param {string} fromPackage
 * @param {string} specifier
 */
export function isAllowed(fromPackage, specifier) {
  const name = packageOf(specifier)
  if (name === fromPackage || TOOLING.includes(name)) return true
  const allowed = LAYERS[fromPackage] ?? []
  return allowed.includes(name) || allowed.includes(specifier)
}
