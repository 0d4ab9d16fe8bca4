import eslint from '@eslint/js'
import prettier from 'eslint-config-prettier'
import tseslint from 'typescript-eslint'

import { layerRule } from './layer-rule.mjs'

const NODE_GLOBALS = Object.fromEntries(
  [
    ...[
      'process',
      'console',
      'Buffer',
      'URL',
      'performance',
      'globalThis',
      'structuredClone',
      'AbortController',
    ],
    ...['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'queueMicrotask'],
    ...['TextEncoder', 'TextDecoder', 'SharedArrayBuffer', 'Atomics', 'FinalizationRegistry', 'WeakRef'],
  ].map((name) => [name, 'readonly']),
)

const IO_IS_THE_CLOCK = 'The Io is the only clock and timer, or SimIo cannot drive this code.'

/**
 * The lint of the whole repository. Rules that are switched off or loosened say why.
 * @param {string} rootDirectory absolute path of the repository
 */
export function holtConfig(rootDirectory) {
  return tseslint.config(
    {
      ignores: [
        '**/node_modules/**',
        '**/dist/**',
        '**/build/**',
        '**/coverage/**',
        '**/.turbo/**',
        '**/.readme-example/**',
      ],
    },
    { linterOptions: { reportUnusedDisableDirectives: 'error' } },
    eslint.configs.recommended,
    {
      plugins: { holt: { rules: { layers: layerRule } } },
      languageOptions: { globals: NODE_GLOBALS },
      rules: {
        'holt/layers': 'error',
        eqeqeq: 'error',
        'no-var': 'error',
        'prefer-const': 'error',
        'object-shorthand': 'error',
        // A NUL or another control byte in a pattern is what binary-safe keys are tested with.
        'no-control-regex': 'off',
      },
    },
    {
      files: ['**/*.ts'],
      extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
      languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: rootDirectory } },
      rules: {
        '@typescript-eslint/consistent-type-imports': 'error',
        '@typescript-eslint/switch-exhaustiveness-check': [
          'error',
          { considerDefaultExhaustiveForUnions: true, allowDefaultCaseForExhaustiveSwitch: true },
        ],
        // Search loops over nodes and log records end by `return` in the middle.
        '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
        // `() => resolve()` is no riddle.
        '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
        '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
        // A function of the Io, or of a store, rejects and never throws: `async` without `await` is how it keeps that.
        '@typescript-eslint/require-await': 'off',
        // Hot loops over typed arrays count by index; for-of over them is slower in V8.
        '@typescript-eslint/prefer-for-of': 'off',
      },
    },
    {
      // The tools' own configurations lie outside every tsconfig: no types, the other rules hold.
      files: ['**/*.config.ts', '**/*.mjs', '**/*.js'],
      extends: [tseslint.configs.disableTypeChecked],
      languageOptions: { parserOptions: { projectService: false } },
    },
    {
      files: ['**/test/**/*.ts'],
      rules: {
        // Stubs of callbacks that must not be called, or whose call is all that counts.
        '@typescript-eslint/no-empty-function': 'off',
        // Vitest's matchers are handed around unbound.
        '@typescript-eslint/unbound-method': 'off',
      },
    },
    {
      // The library prints nothing.
      files: ['packages/*/src/**/*.ts'],
      ignores: ['packages/*/src/cli/**', 'packages/test-harness/**'],
      rules: { 'no-console': 'error' },
    },
    {
      files: ['packages/{journal,blob-store,checkpointer}/src/**/*.ts'],
      rules: {
        'no-restricted-globals': [
          'error',
          ...['setTimeout', 'setInterval', 'Date', 'performance'].map((name) => ({
            name,
            message: IO_IS_THE_CLOCK,
          })),
        ],
      },
    },
    prettier,
  )
}
