import { readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'

import { LAYERS, MAY_USE_NODE_FS, isAllowed, isOurs, packageOf } from './layers.mjs'

/** @type {Map<string, { readonly name: string, readonly root: string } | undefined>} */
const packageByDirectory = new Map()

/**
 * The package a directory belongs to: the nearest package.json upwards that has a name.
 * @param {string} directory
 * @returns {{ readonly name: string, readonly root: string } | undefined}
 */
function owningPackage(directory) {
  if (packageByDirectory.has(directory)) return packageByDirectory.get(directory)
  const found = readPackageName(directory)
  const parent = dirname(directory)
  const owner = found ?? (parent === directory ? undefined : owningPackage(parent))
  packageByDirectory.set(directory, owner)
  return owner
}

/** @param {string} directory */
function readPackageName(directory) {
  try {
    const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
    return typeof name === 'string' ? { name, root: directory } : undefined
  } catch {
    return undefined
  }
}

/**
 * Reports an import against the arrows of `layers.mjs`, a relative import that leaves its package, and `node:fs` where the `Io`
 * is the only way to the disk. It looks at static, dynamic and type imports, at re-exports and at `require`.
 * @type {import('eslint').Rule.RuleModule}
 */
export const layerRule = {
  meta: {
    type: 'problem',
    docs: { description: 'imports follow the arrows between the packages' },
    schema: [],
    messages: {
      arrow: "{{from}} may not import '{{specifier}}'; beneath it lie: {{allowed}}.",
      relative: "'{{specifier}}' leaves the package {{from}}; import the other package by its name.",
      disk: "'{{specifier}}' in {{from}}: only the Io it is given may touch the disk, or SimIo cannot drive it.",
    },
  },
  create(context) {
    const directory = dirname(context.filename)
    const owner = owningPackage(directory)
    if (owner === undefined || !(owner.name in LAYERS)) return {}
    const from = owner.name
    const isSource = relative(owner.root, context.filename).startsWith(`src${sep}`)

    /**
     * @param {import('estree').Node} node
     * @param {unknown} specifier
     */
    function judge(node, specifier) {
      if (typeof specifier !== 'string') return
      if (specifier.startsWith('.')) {
        const target = relative(owner?.root ?? '', resolve(directory, specifier))
        if (target.startsWith('..'))
          context.report({ node, messageId: 'relative', data: { from, specifier } })
        return
      }
      if (isSource && !MAY_USE_NODE_FS.includes(from) && /^(?:node:)?fs(?:\/promises)?$/.test(specifier)) {
        context.report({ node, messageId: 'disk', data: { from, specifier } })
        return
      }
      if (isOurs(specifier) && packageOf(specifier) !== from && !isAllowed(from, specifier)) {
        const allowed = (LAYERS[from] ?? []).join(', ') || 'nothing'
        context.report({ node, messageId: 'arrow', data: { from, specifier, allowed } })
      }
    }

    return {
      ImportDeclaration: (node) => judge(node, node.source.value),
      ExportAllDeclaration: (node) => judge(node, node.source.value),
      ExportNamedDeclaration: (node) => judge(node, node.source?.value),
      ImportExpression: (node) => judge(node, node.source.type === 'Literal' ? node.source.value : undefined),
      TSImportType: (node) => judge(node, node.source?.value ?? node.argument?.literal?.value),
      CallExpression(node) {
        const [first] = node.arguments
        if (
          node.callee.type === 'Identifier' &&
          node.callee.name === 'require' &&
          first?.type === 'Literal'
        ) {
          judge(node, first.value)
        }
      },
    }
  },
}
