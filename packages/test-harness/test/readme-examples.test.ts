import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { ModuleKind, ScriptTarget, transpileModule } from 'typescript'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const PACKAGES = fileURLToPath(new URL('../../', import.meta.url))
const EXAMPLE_TIMEOUT_MS = 30_000
const packages = readdirSync(PACKAGES).filter((name) => existsSync(join(PACKAGES, name, 'package.json')))

/** Where the examples run, so that the files they make are found and removed. */
let workDirectory = ''

beforeAll(() => {
  workDirectory = mkdtempSync(join(tmpdir(), 'holt-readme-'))
})

afterAll(() => rmSync(workDirectory, { recursive: true, force: true }))

/** The first block of code in a README, as it stands there. */
function firstExample(readme: string): { readonly language: string; readonly code: string } | undefined {
  const block = /^```(ts|js)\n(.*?)^```$/ms.exec(readme)
  if (block === null) return undefined
  const [, language, code] = block
  return { language, code }
}

/** What plain Node 20 can run: no types, and `using` lowered. */
function toJavaScript(code: string): string {
  return transpileModule(code, {
    compilerOptions: { module: ModuleKind.ESNext, target: ScriptTarget.ES2022 },
  }).outputText
}

interface Run {
  readonly exitCode: number | null
  readonly output: string
}

/** Runs a program inside a package, so that it finds the built packages by their names as a user's would. */
async function runInPackage(packageName: string, code: string): Promise<Run> {
  const directory = join(PACKAGES, packageName, '.readme-example')
  mkdirSync(directory, { recursive: true })
  try {
    const program = join(directory, 'example.mjs')
    writeFileSync(program, code)
    return await new Promise<Run>((resolve) => {
      const child = spawn(process.execPath, [program], {
        cwd: mkdtempSync(join(workDirectory, `${packageName}-`)),
        timeout: EXAMPLE_TIMEOUT_MS,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
      }
      child.on('close', (exitCode) => resolve({ exitCode, output }))
    })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

describe("the first example of a package's README", () => {
  test.each(packages)('of %s runs as it stands', async (name) => {
    const readme = join(PACKAGES, name, 'README.md')
    expect(existsSync(readme), `${name} has no README.md`).toBe(true)
    const example = firstExample(readFileSync(readme, 'utf8'))
    if (example === undefined) throw new Error(`${name}/README.md has no example`)
    const run = await runInPackage(
      name,
      example.language === 'ts' ? toJavaScript(example.code) : example.code,
    )
    expect(run, run.output).toMatchObject({ exitCode: 0 })
  })

  test.each([
    ['Reading', 5],
    ['Views', 2],
    ['Snapshots', 2],
  ])('of holt under %s prints what its comments say', async (title, least) => {
    const readme = readFileSync(join(PACKAGES, 'holt', 'README.md'), 'utf8')
    const code = new RegExp(`^## ${title}$.*?^\`\`\`ts\\n(.*?)^\`\`\`$`, 'ms').exec(readme)?.[1] ?? ''
    const said = [...code.matchAll(/^console\.log\(.*\) \/\/ (.*)$/gm)].map(([, comment]) => comment)
    expect(said.length).toBeGreaterThanOrEqual(least)
    const run = await runInPackage('holt', toJavaScript(code))
    expect(run.output.trimEnd().split('\n')).toEqual(said)
  })

  test('of the whole repository runs too', async () => {
    const example = firstExample(readFileSync(join(PACKAGES, '..', 'README.md'), 'utf8'))
    if (example === undefined) throw new Error('README.md has no example')
    const run = await runInPackage('test-harness', toJavaScript(example.code))
    expect(run, run.output).toMatchObject({ exitCode: 0 })
  })

  test('fails when it does not run', async () => {
    const run = await runInPackage('errors', toJavaScript("import { absent } from '@holt/errors'\nabsent()"))
    expect(run.exitCode).not.toBe(0)
    expect(run.output).toContain('absent')
  })
})
