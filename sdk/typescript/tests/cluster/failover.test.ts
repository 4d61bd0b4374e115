import { randomUUID } from "node:crypto"
import { type StateEvent, StateraftClient } from "stateraft"
import { afterAll, beforeAll, expect, test } from "vitest"
import { Cluster } from "./cluster.js"

const writes = 120 // of each writer
const killAfter = 40

let cluster: Cluster
beforeAll(async () => {
  cluster = await Cluster.start()
})
afterAll(() => cluster?.stop())

/** Writes 1 to `writes` to a key, one after the other; each in a way that may be sent again. */
async function writer(client: StateraftClient, key: string, at: (n: number) => void): Promise<void> {
  let version = 0
  for (let n = 1; n <= writes; n++) {
    const idempotencyKey = randomUUID()
    if (n % 3 === 0) {
      version = (await client.state.setWithVersion("wf", key, n, version, { idempotencyKey })).version
    } else if (n % 3 === 1) {
      version = (await client.state.set("wf", key, n, { idempotencyKey })).version
    } else {
      const op = { op: "set", key, value: n, expectedVersion: version } as const
      version = (await client.state.atomic("wf", [op], { idempotencyKey })).results[0]?.version ?? 0
    }
    at(n)
  }
}

/** Resolves once the subscriber has the last write of every key. */
class Subscriber {
  readonly events: StateEvent[] = []
  readonly #left: Set<string>
  #all!: () => void
  readonly all = new Promise<void>((resolve) => {
    this.#all = resolve
  })

  constructor(keys: string[]) {
    this.#left = new Set(keys)
  }

  take(event: StateEvent): void {
    this.events.push(event)
    if (event.newValue === writes) {
      this.#left.delete(event.key ?? "")
    }
    if (this.#left.size === 0) {
      this.#all()
    }
  }

  /** Fails unless each write was told once and in order. */
  check(keys: string[]): void {
    for (const key of keys) {
      const told = this.events.filter((event) => event.key === key)
      const numbers = Array.from({ length: writes }, (_, i) => i + 1)
      expect(told.map(({ newValue }) => newValue)).toEqual(numbers)
      expect(told.map(({ version }) => version)).toEqual(numbers)
      expect(told.map(({ oldValue }) => oldValue)).toEqual([null, ...numbers.slice(0, -1)])
    }
    const revisions = this.events.map(({ revision }) => revision ?? 0)
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b))
    expect(this.events.every(({ type }) => type === "set")).toBe(true)
  }
}

test("the leader is killed amid writers and subscribers: nothing lost, nothing twice, no error", async () => {
  const victim = await cluster.leader()
  const clients = [0, 1, 2, 3].map((i) => new StateraftClient({ endpoints: cluster.from((victim + i) % 3) }))
  const keys = clients.map((_, i) => `k${i}`)

  const subscribers = clients.flatMap((client, i) => {
    const pushed = new Subscriber(keys)
    const one = client.state.subscribeWorkflow("wf", (event) => pushed.take(event))
    const pulled = new Subscriber(keys)
    const other = client.state.subscribeWorkflow("wf")
    const looped = (async () => {
      for await (const event of other) {
        pulled.take(event)
      }
    })()
    const single = new Subscriber([`k${i}`])
    const key = client.state.subscribe("wf", `k${i}`, (event) => single.take(event))
    return [
      { told: pushed, keys, subscription: one, ended: one.done },
      { told: pulled, keys, subscription: other, ended: looped },
      { told: single, keys: [`k${i}`], subscription: key, ended: key.done },
    ]
  })
  await Promise.all(subscribers.map(({ subscription }) => subscription.opened))

  let killed: Promise<void> | undefined
  const at = (n: number) => {
    if (n === killAfter) {
      killed ??= cluster.kill(victim)
    }
  }
  await Promise.all(clients.map((client, i) => writer(client, `k${i}`, at)))
  await killed
  await Promise.all(subscribers.map(({ told }) => told.all))

  for (const { told, keys: of, subscription, ended } of subscribers) {
    told.check(of)
    subscription.close()
    await ended
  }
  const { keys: present } = await (clients[0] as StateraftClient).state.list("wf")
  expect(present).toEqual(keys)
  for (const key of keys) {
    const { value, version } = await (clients[1] as StateraftClient).state.get("wf", key)
    expect({ value, version }).toEqual({ value: writes, version: writes })
  }
})
