import { holtConfig } from './tooling/eslint/index.mjs'

export default holtConfig(import.meta.dirname)
