import { describe, expect, it } from 'vitest'
import { BoundedQueue } from '../src/index.js'

describe('BoundedQueue', () => {
  it('hands items out in order', async () => {
    const queue = new BoundedQueue<number>(4)
    await queue.push(1)
    await queue.push(2)
    expect([await queue.take(), await queue.take()]).toEqual([1, 2])
  })

  it('holds producers back when it is full, until somebody takes', async () => {
    const queue = new BoundedQueue<number>(1)
    await queue.push(1)
    let pushed = false
    const second = queue.push(2).then(() => {
      pushed = true
    })
    await Promise.resolve()
    expect(pushed).toBe(false)
    expect(await queue.take()).toBe(1)
    await second
    expect(await queue.take()).toBe(2)
  })

  it('hands an item straight to a consumer that waits', async () => {
    const queue = new BoundedQueue<number>(1)
    const taken = queue.take()
    await queue.push(7)
    expect(await taken).toBe(7)
    expect(queue.length).toBe(0)
  })

  it('closed: refuses producers, waiting ones too, gives out what it holds, then ends', async () => {
    const queue = new BoundedQueue<number>(1)
    await queue.push(1)
    const waiting = queue.push(2)
    queue.close()
    await expect(waiting).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    await expect(queue.push(3)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    expect(await queue.take()).toBe(1)
    expect(await queue.take()).toBeUndefined()
  })

  it.each([0, -1, 1.5])('refuses a capacity of %d', (capacity) => {
    expect(() => new BoundedQueue(capacity)).toThrow(
      expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }),
    )
  })
})
