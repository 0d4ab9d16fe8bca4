import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Worker threads cannot run TypeScript: before the tests, what they import is built, if it is older than its source. */
export default function buildDist(): void {
  const packages = fileURLToPath(new URL('../..', import.meta.url))
  for (const name of ['errors', 'blob-buf-pool']) {
    const directory = join(packages, name)
    const built = join(directory, 'dist', 'index.js')
    const newest = Math.max(
      ...readdirSync(join(directory, 'src')).map((file) => statSync(join(directory, 'src', file)).mtimeMs),
    )
    if (existsSync(built) && statSync(built).mtimeMs >= newest) continue
    execFileSync('npx', ['tsup'], { cwd: directory, stdio: ['ignore', 'ignore', 'inherit'] })
  }
}
