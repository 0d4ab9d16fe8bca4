/**
 * A copy of the workspace in which tests run under other circumstances: by a user who may not write to the original, or
 * with another addon in place of the built one. Sources, builds and links are copied; what was installed is not, the
 * copy links to it.
 */
import { cpSync, mkdtempSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

import { ROOT, workspaceDirectories } from './setup.mjs'

const LEFT_OUT = new Set(['.turbo', '.vite', '.vite-temp', 'coverage', '.readme-example'])

/** Copies the workspace to a fresh directory and returns its path. Whoever asked for it removes it. */
export function copyWorkspace() {
  const copy = mkdtempSync(join(tmpdir(), 'holt-workspace-'))
  for (const directory of workspaceDirectories()) {
    cpSync(join(ROOT, directory), join(copy, directory), {
      recursive: true,
      // Links between packages are relative: in the copy they lead to the copy.
      verbatimSymlinks: true,
      // Timestamps tell tests whether a build is older than its sources.
      preserveTimestamps: true,
      filter: (path) => !LEFT_OUT.has(basename(path)),
    })
  }
  cpSync(join(ROOT, 'package.json'), join(copy, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

/** The test runner, as a program for node. */
export const VITEST = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
