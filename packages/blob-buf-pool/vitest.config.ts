import { packageProject } from '@holt/vitest'
import { defineProject } from 'vitest/config'

export default defineProject(packageProject('@holt/blob-buf-pool', { globalSetup: ['./test/build-dist.ts'] }))
