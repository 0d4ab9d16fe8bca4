/**
 * Imported before anything else by every script: says plainly that Node is too old, where a later import would fail with a riddle.
 * Keep the syntax of this file, and of what is imported after it, readable for Node 14.
 */
const NEEDED_MAJOR = 20
const NEEDED_MINOR = 19

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < NEEDED_MAJOR || (major === NEEDED_MAJOR && minor < NEEDED_MINOR)) {
  const needed = String(NEEDED_MAJOR) + '.' + String(NEEDED_MINOR)
  process.stderr.write(
    'holt needs Node.js ' +
      needed +
      ' or newer; this is ' +
      process.version +
      ' (' +
      process.execPath +
      ').\nGet a newer one from https://nodejs.org/ and run the command again.\n',
  )
  process.exit(1)
}
