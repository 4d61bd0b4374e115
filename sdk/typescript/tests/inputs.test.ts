import { rawJson, StateraftClient } from "stateraft"
import { beforeEach, expect, test } from "vitest"

/** What JavaScript lets a caller give that is no JSON. */

const sent: string[] = []
beforeEach(() => {
  sent.length = 0
})
const client = new StateraftClient({
  fetch: async (_, { body }) => {
    sent.push(String(body))
    return new Response('{"version":1}')
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
