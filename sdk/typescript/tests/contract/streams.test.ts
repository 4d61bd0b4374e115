import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { checkError, eventAs } from "./check.js"
import { type StreamCase, streams } from "./files.js"
import { subscriptions } from "./methods.js"
import { idle, Script, settled, useTestClock } from "./script.js"

beforeEach(useTestClock)
afterEach(() => {
  vi.useRealTimers()
})

/** Less than a keep-alive takes. */
const quietMs = 1000

for (const [file, cases] of streams()) {
  describe(file, () => {
    test.each(cases.map((one) => [one.name, one] as const))("%s: iteration", async (_, one) => {
      await run(one, false)
    })
    test.each(cases.map((one) => [one.name, one] as const))("%s: callback", async (_, one) => {
      await run(one, true)
    })
  })
}

async function run(one: StreamCase, withCallback: boolean): Promise<void> {
  const { client, subscribe, connections, events, error } = one
  const make = subscriptions[subscribe.method]
  if (!make) {
    throw new Error(`unknown method ${subscribe.method}`)
  }
  const script = new Script(client, true)
  script.expects(connections)
  const told: any[] = []
  const tell = (event: any) => {
    told.push(event)
  }
  const subscription = make(script.client, subscribe.args, withCallback ? tell : undefined)
  const ended = withCallback ? subscription.done : iterate(subscription, tell)
  ended.catch(() => {})

  await waitFor(() => told.length >= events.length, ended)
  expect(told.map((event, i) => eventAs(events[i] ?? {}, event))).toEqual(events)
  if (error) {
    const failed = await settled(
      ended.then(
        () => undefined,
        (reason: unknown) => reason,
      ),
    )
    checkError(failed, error)
    await expect(subscription.done).rejects.toBe(failed)
  } else {
    await idle()
    vi.advanceTimersByTime(quietMs)
    await idle()
    subscription.close()
    await settled(ended)
  }
  expect(told.length, "events").toBe(events.length)
  script.done()
  script.allClosed()
}

async function iterate(subscription: AsyncIterable<any>, tell: (event: any) => void): Promise<void> {
  for await (const event of subscription) {
    tell(event)
  }
}

/** Lets the test's clock run until the condition holds, or the subscription has ended. */
async function waitFor(condition: () => boolean, ended: Promise<unknown>): Promise<void> {
  let over = false
  const end = () => {
    over = true
  }
  ended.then(end, end)
  for (let i = 0; i < 1000; i++) {
    await idle()
    if (over || condition()) {
      return
    }
    vi.advanceTimersToNextTimer()
  }
  throw new Error("the events do not come")
}
