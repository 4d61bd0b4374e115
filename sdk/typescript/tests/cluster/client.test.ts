import { InvalidRequestError, NotFoundError, rawJson, StateraftClient, VersionConflictError } from "stateraft"
import { expect, inject, test } from "vitest"

const endpoints = inject("endpoints")
const client = new StateraftClient({ endpoints })

test("set, get, list and delete", async () => {
  expect(await client.state.set("crud", "status", { step: "researching" }, 3600)).toEqual({ version: 1 })
  const entry = await client.state.get("crud", "status")
  expect(entry).toMatchObject({ value: { step: "researching" }, version: 1, raw: '{"step":"researching"}' })
  expect(entry.expiresAt?.getTime()).toBeGreaterThan(Date.now() + 3_500_000)
  expect(await client.state.list("crud")).toEqual({ keys: ["status"], entries: null, next: null })
  expect(await client.state.delete("crud", "status")).toEqual({ deleted: true })
  await expect(client.state.get("crud", "status")).rejects.toBeInstanceOf(NotFoundError)
})

test("two writers at one version: one wins, the other gets VERSION_CONFLICT", async () => {
  await client.state.set("counter", "n", 1)
  const { value, version } = await client.state.get("counter", "n")
  await client.state.setWithVersion("counter", "n", value + 1, version)
  const late = await client.state
    .setWithVersion("counter", "n", value + 1, version, { returnCurrent: true })
    .catch((error: unknown) => error)
  expect(late).toBeInstanceOf(VersionConflictError)
  expect(late).toMatchObject({
    code: "VERSION_CONFLICT",
    status: 409,
    expectedVersion: 1,
    currentVersion: 2,
    currentValue: 2,
  })
})

test("a number beyond 2^53 comes back with every digit", async () => {
  await client.state.set("raw", "id", rawJson("12345678901234567890"))
  expect((await client.state.get("raw", "id")).raw).toBe("12345678901234567890")
})

test("pages of a long list", async () => {
  const ops = Array.from(
    { length: 100 },
    (_, i) => ({ op: "set", key: `k${String(i).padStart(3, "0")}`, value: i }) as const,
  )
  await client.state.atomic("long", ops)
  const keys: string[] = []
  for await (const page of client.state.pages("long", { limit: 30 })) {
    expect(page.keys.length).toBeLessThanOrEqual(30)
    keys.push(...page.keys)
  }
  expect(keys).toEqual(ops.map(({ key }) => key))
})

test("agent state, by way of a name beyond ASCII", async () => {
  await client.agent.set("usér_漢", "current_task", { next: "book" }, { session: "run-1", ttl: 60 })
  const entry = await client.agent.get("usér_漢", "current_task")
  expect(entry).toMatchObject({ value: { next: "book" }, session: "run-1", version: 1 })
  await client.agent.delete("usér_漢", "current_task")
  expect((await client.agent.list("usér_漢")).entries).toEqual([])
})

test("a stale read at another node covers this client's writes", async () => {
  for (let n = 1; n <= 50; n++) {
    await client.state.set("ryw", "k", n)
    const other = new StateraftClient({ baseUrl: endpoints[n % 3] as string })
    const entry = await other.state.get("ryw", "k", { consistency: "stale", minRevision: client.revision })
    expect(entry.value).toBe(n)
  }
})

test("the same idempotency key has one effect", async () => {
  const first = await client.state.set("idem", "k", 1, { idempotencyKey: "once" })
  const second = await client.state.set("idem", "k", 1, { idempotencyKey: "once" })
  expect([first, second]).toEqual([{ version: 1 }, { version: 1 }])
})

test("a callback gets changes until it is closed, one at a time", async () => {
  const told: number[] = []
  let running = 0
  const { promise: third, resolve } = withResolvers()
  const subscription = client.state.subscribe("sub", "k", async ({ newValue }) => {
    expect(++running).toBe(1)
    await new Promise((next) => setImmediate(next))
    running--
    told.push(newValue)
    if (newValue === 3) {
      subscription.close()
      resolve()
    }
  })
  await subscription.opened
  for (const n of [1, 2, 3, 4]) {
    await client.state.set("sub", "k", n)
  }
  await third
  await subscription.done
  expect(told).toEqual([1, 2, 3])
})

test("leaving a loop closes the subscription, and another goes on where it was", async () => {
  const loop = client.state.subscribeWorkflow("loop")
  await loop.opened
  for (const n of [1, 2, 3]) {
    await client.state.set("loop", "k", n)
  }
  for await (const event of loop) {
    expect(event.newValue).toBe(1)
    break
  }
  await loop.done
  const rest: number[] = []
  for await (const event of client.state.subscribeWorkflow("loop", undefined, { fromRevision: loop.revision })) {
    rest.push(event.newValue)
    if (rest.length === 2) {
      break
    }
  }
  expect(rest).toEqual([2, 3])
})

test("an iteration that waits ends when the client is closed, or the signal is aborted", async () => {
  const own = new StateraftClient({ endpoints })
  const controller = new AbortController()
  const subscriptions = [
    own.state.subscribe("quiet", "k"),
    client.state.subscribe("quiet", "k", undefined, { signal: controller.signal }),
  ]
  await Promise.all(subscriptions.map(({ opened }) => opened))
  const ends = subscriptions.map((subscription) => subscription[Symbol.asyncIterator]().next())
  own.close()
  controller.abort()
  expect(await Promise.all(ends)).toEqual([
    { done: true, value: undefined },
    { done: true, value: undefined },
  ])
})

test("what a callback throws ends the subscription, and is told", async () => {
  const subscription = client.state.subscribe("throws", "k", () => {
    throw new Error("of the callback")
  })
  const told = expect(subscription.done).rejects.toThrow("of the callback") // the event may come before set's answer
  await subscription.opened
  await client.state.set("throws", "k", 1)
  await told
})

test("a call that is aborted says what became of it", async () => {
  const signal = AbortSignal.abort(new Error("enough"))
  const error = await client.state.set("wf", "k", 1, { signal }).catch((e: unknown) => e)
  expect(error).toMatchObject({ code: "UNREACHABLE", outcome: "not_applied", cause: { message: "enough" } })
})

test("options that exclude each other, or are another call's, are refused", () => {
  expect(() => client.state.subscribe("wf", "k", undefined, { snapshot: true, fromRevision: 1 })).toThrow(
    InvalidRequestError,
  )
  const pushed = client.state.subscribe("wf", "k", () => {})
  expect(() => pushed[Symbol.asyncIterator]()).toThrow(InvalidRequestError)
  pushed.close()
  expect(() => new StateraftClient({ baseUrl: "ftp://example" })).toThrow(InvalidRequestError)
})

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
