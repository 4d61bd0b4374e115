import { StateraftClient } from "stateraft"
import { afterEach, expect, test, vi } from "vitest"
import { settled, useTestClock } from "./contract/script.js"

afterEach(() => {
  vi.useRealTimers()
})

function refusal(status: number, headers: Record<string, string> = {}): Response {
  return new Response('{"code":"REFUSED_FOR_NOW","message":"m","outcome":"not_applied"}', { status, headers })
}

test("calls that are refused together with a Retry-After do not come back together", async () => {
  useTestClock()
  const from = Date.now()
  const again: number[] = []
  const calls = Array.from({ length: 20 }, () => {
    let asked = 0
    const fetch = async () => {
      if (asked++ === 0) {
        return refusal(429, { "Retry-After": "1" })
      }
      again.push(Date.now() - from)
      return new Response('{"version":1}')
    }
    return new StateraftClient({ fetch }).state.set("wf", "k", 1)
  })
  await settled(Promise.all(calls))
  expect(Math.min(...again)).toBeGreaterThanOrEqual(1000)
  expect(Math.max(...again)).toBeLessThanOrEqual(1500)
  expect(Math.max(...again) - Math.min(...again)).toBeGreaterThan(100)
})

test("a call has all of its time, though the machine's clock is set forward meanwhile", async () => {
  vi.useFakeTimers({ toFake: ["Date"] })
  let asked = 0
  const fetch = async () => {
    if (asked++ > 0) {
      return new Response('{"version":1}')
    }
    vi.setSystemTime(Date.now() + 3_600_000)
    return refusal(503)
  }
  const client = new StateraftClient({ endpoints: ["http://node0", "http://node1"], fetch })
  expect(await client.state.set("wf", "k", 1)).toEqual({ version: 1 })
})
