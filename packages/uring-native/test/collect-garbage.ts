import { setTimeout as delay } from 'node:timers/promises'
import v8 from 'node:v8'
import vm from 'node:vm'

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc') as () => void

/** Collects garbage, turn after turn, until `isDone` or as often as is said. */
export async function collectUntil(isDone: () => boolean, attempts = 100): Promise<boolean> {
  for (let attempt = 0; attempt < attempts && !isDone(); attempt++) {
    await delay(5)
    collect()
  }
  return isDone()
}
