import { rawJson, StateraftClient } from "stateraft"
import { beforeEach, expect, test } from "vitest"

/** What JavaScript lets a caller give that is no JSON. */

const sent: string[] = []
const asked: string[] = []
beforeEach(() => {
  sent.length = asked.length = 0
})
const client = new StateraftClient({
  fetch: async (url, { method, headers, body }) => {
    sent.push(String(body))
    const conditions = Object.entries(headers ?? {}).filter(
      ([name]) => !/^(user-agent|content-type|x-stateraft)/i.test(name),
    )
    asked.push([method, url, ...conditions].join(" "))
    return new Response('{"version":1,"deleted":true,"keys":[],"data":[]}')
  },
})

test.each([
  ["a rawJson within a value", { id: rawJson("12345678901234567890") }],
  ["NaN", Number.NaN],
  ["an infinity within a value", { list: [1, Number.NEGATIVE_INFINITY] }],
  ["a bigint", 1n],
])("%s is refused, and nothing is sent", async (_, value) => {
  const refused = { code: "INVALID_REQUEST", outcome: "not_applied" }
  await expect(client.state.set("wf", "k", value)).rejects.toMatchObject(refused)
  await expect(client.state.setWithVersion("wf", "k", value, 1)).rejects.toMatchObject(refused)
  await expect(client.state.atomic("wf", [{ op: "set", key: "k", value }])).rejects.toMatchObject(refused)
  await expect(client.agent.set("s", "k", value)).rejects.toMatchObject(refused)
  expect(sent).toEqual([])
})

test("a TTL of null is none", async () => {
  const none: any = null
  await client.state.set("wf", "k", 1, none)
  await client.state.set("wf", "k", 1, { ttl: none })
  await client.agent.set("s", "k", 1, none)
  expect(sent).toEqual(['{"value":1}', '{"value":1}', '{"value":1}'])
})

test("an option of null is absent", async () => {
  const url = "http://127.0.0.1:7474"
  const none: any = null
  const write = {
    idempotencyKey: none,
    ifVersion: none,
    ifExists: none,
    ifAbsent: none,
    returnCurrent: none,
    signal: none,
  }
  const list = { prefix: none, after: none, limit: none, consistency: none, minRevision: none, signal: none }
  await client.state.set("wf", "k", 1, write)
  await client.state.delete("wf", "k", write)
  await client.state.list("wf", { ...list, reverse: none, values: none })
  const { returnCurrent, ...agentWrite } = write
  await client.agent.set("s", "k", 1, { ...agentWrite, session: none })
  await client.agent.list("s", { ...list, session: none })
  const subscription = client.state.subscribeWorkflow("wf", none, {
    snapshot: none,
    fromRevision: none,
    prefix: none,
    signal: none,
  })
  expect(subscription[Symbol.asyncIterator]()).toBeDefined()
  subscription.close()
  expect(asked).toEqual([
    `POST ${url}/v1/state/wf/k`,
    `DELETE ${url}/v1/state/wf/k`,
    `GET ${url}/v1/state/wf`,
    `PUT ${url}/api/v1/state/k X-Subject-ID,s`,
    `GET ${url}/api/v1/state X-Subject-ID,s`,
    `GET ${url}/v1/state/wf Accept,text/event-stream`,
  ])
})
