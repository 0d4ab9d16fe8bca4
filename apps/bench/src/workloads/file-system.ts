import type { WorkloadKeys } from './workload.js'

const PROJECTS = 8
const KINDS = ['src', 'test', 'docs', 'build/lib', 'assets/images', 'vendor/github.com/library/pkg']
const WORDS = ['index', 'server', 'client', 'request-handler', 'model', 'view', 'parser', 'configuration']
/** Files of a user, the projects together. */
const USER_FILES = 4_000

/** Paths of files: users, eight projects each, folders of several depths, names of several lengths. */
export function fileSystemKeys(keyCount: number, absentCount: number): WorkloadKeys {
  const users = Math.max(1, Math.round(keyCount / USER_FILES))
  const name = (index: number, extension: string): string => {
    const project = index % PROJECTS
    const user = Math.floor(index / PROJECTS) % users
    const file = Math.floor(index / (PROJECTS * users))
    const kind = KINDS[file % KINDS.length]
    const word = WORDS[Math.floor(file / KINDS.length) % WORDS.length]
    return `${userPrefix(user)}project-${String(project)}/${kind}/${word}-${String(file)}.${extension}`
  }
  return {
    keys: Array.from({ length: keyCount }, (_, index) => name(index, 'ts')),
    absent: Array.from({ length: absentCount }, (_, index) => name(index, 'ts~')),
    directories: Array.from({ length: Math.min(users, keyCount) }, (_, user) => userPrefix(user)),
  }
}

function userPrefix(user: number): string {
  return `home/user-${String(user).padStart(4, '0')}/`
}
