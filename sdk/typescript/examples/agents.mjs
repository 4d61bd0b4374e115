// Two agents share a workflow: one hands out tasks, both take them, and no task is done twice. Needs `make run`.
import { StateraftClient, VersionConflictError } from "stateraft"

const endpoints = (process.env.STATERAFT_ENDPOINTS ?? "http://localhost:7474,http://localhost:7475").split(",")
const workflow = `research-${Date.now()}`
const topics = ["hotels", "flights", "museums", "food", "weather"]

/** Takes tasks as they come, until all are done. */
async function agent(name) {
  const client = new StateraftClient({ endpoints })
  const done = new Set()
  for await (const event of client.state.subscribeWorkflow(workflow, undefined, { prefix: "task:", snapshot: true })) {
    if (event.newValue?.state === "todo") {
      await take(client, name, event)
    } else if (event.newValue?.state === "done") {
      done.add(event.key)
    }
    if (done.size === topics.length) {
      return
    }
  }
}

/** Takes one task, unless the other agent was faster: its version has moved on then. */
async function take(client, name, { key, newValue, version }) {
  try {
    const taken = await client.state.setWithVersion(workflow, key, { ...newValue, state: "taken", by: name }, version)
    await client.state.setWithVersion(workflow, key, { ...newValue, state: "done", by: name }, taken.version)
    console.log(`${name} has done ${key}`)
  } catch (error) {
    if (!(error instanceof VersionConflictError)) {
      throw error
    }
  }
}

const agents = [agent("ada"), agent("bob")]
const client = new StateraftClient({ endpoints })
for (const topic of topics) {
  await client.state.set(workflow, `task:${topic}`, { topic, state: "todo" })
}
await Promise.all(agents)

const { entries } = await client.state.list(workflow, { values: true })
console.log(`${entries.filter(({ value }) => value.state === "done").length} of ${topics.length} tasks are done`)
