// What every platform must be able to do. Prints one line of JSON.
import { StateraftClient } from "stateraft"

const { STATERAFT_ENDPOINTS, STATERAFT_REFUSED: refused } = globalThis.Deno?.env.toObject() ?? globalThis.process.env
const endpoints = STATERAFT_ENDPOINTS.split(",")
// Nobody listens at the first endpoint: the first write goes to the next.
const client = new StateraftClient({ endpoints: [refused, ...endpoints] })
const workflow = `smoke-${crypto.randomUUID()}`

const told = []
await client.state.set(workflow, "k/é 漢", { n: 1 }, 60)
const subscription = client.state.subscribeWorkflow(workflow, undefined, { fromRevision: client.revision - 1 })
await client.state.setWithVersion(workflow, "k/é 漢", { n: 2 }, 1)
const conflict = await client.state.setWithVersion(workflow, "k/é 漢", 3, 1).catch((error) => error)
const entry = await client.state.get(workflow, "k/é 漢")
await client.state.delete(workflow, "k/é 漢")
for await (const { type, newValue, version } of subscription) {
  told.push([type, newValue, version])
  if (type === "delete") {
    break
  }
}
const fresh = new StateraftClient({ baseUrl: refused, maxAttempts: 1 })
const unreachable = await fresh.state.set(workflow, "k", 1).catch((error) => error)
console.log(
  JSON.stringify({
    told,
    conflict: [conflict.name, conflict.code, conflict.currentVersion],
    raw: entry.raw,
    keys: (await client.state.list(workflow)).keys,
    unreachable: unreachable.code,
  }),
)
