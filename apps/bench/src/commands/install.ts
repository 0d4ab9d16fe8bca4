import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { RIVALS_DIRECTORY } from '../stores/rival-module.js'
import { STORE_KINDS, whyMissing } from '../stores/catalog.js'

/** Whether an installation was tried here before. */
export function isInstalled(): boolean {
  return existsSync(join(RIVALS_DIRECTORY, 'node_modules'))
}

/**
 * Installs the rivals from their own lockfile, into their own folder. Those without a binary for this machine are
 * compiled against the headers that came with the running node, so that nothing but the registry is needed. One that
 * cannot be installed is left out by npm: they are optional. Says on stderr what became of each.
 */
export async function installRivals(): Promise<void> {
  process.stderr.write(
    'installing the rivals (about 100 MB; one of them is compiled, which takes a minute or two)\n',
  )
  const headers = join(dirname(process.execPath), '..')
  const nodedir = existsSync(join(headers, 'include', 'node', 'node.h')) ? headers : undefined
  const exitCode = await new Promise<number>((resolve, reject) => {
    const npm = spawn('npm', ['ci', '--no-audit', '--no-fund'], {
      cwd: RIVALS_DIRECTORY,
      env: { ...process.env, ...(nodedir === undefined ? {} : { npm_config_nodedir: nodedir }) },
      // What is measured goes to stdout.
      stdio: ['ignore', process.stderr, process.stderr],
      shell: process.platform === 'win32',
    })
    npm.once('error', reject)
    npm.once('exit', (code) => {
      resolve(code ?? 1)
    })
  })
  if (exitCode !== 0) throw new Error(`npm could not install the rivals (exit code ${String(exitCode)})`)
  for (const kind of STORE_KINDS) {
    if (kind.rivalPackage === undefined) continue
    const reason = whyMissing(kind)
    process.stderr.write(
      `${reason === undefined ? '✓' : '✗'} ${kind.name}${reason === undefined ? '' : `: ${reason}`}\n`,
    )
  }
}
