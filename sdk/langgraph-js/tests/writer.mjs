// A process of its own that goes on with a thread: told "read", it reads the latest checkpoint; told "put ID", it puts one
// on top of what it read. It answers each line with one of JSON.
import { createInterface } from "node:readline"
import { emptyCheckpoint } from "@langchain/langgraph-checkpoint"
import { StateraftSaver } from "@stateraft/langgraph"
import { StateraftClient } from "stateraft"

const [endpoints, prefix, thread] = process.argv.slice(2)
const saver = new StateraftSaver(new StateraftClient({ endpoints: endpoints.split(",") }), { prefix })
const latest = { configurable: { thread_id: thread, checkpoint_ns: "" } }
let config = latest

async function read() {
  const tuple = await saver.getTuple(latest)
  config = tuple?.config ?? latest
  return { id: tuple?.checkpoint.id ?? null }
}

async function put(id) {
  const checkpoint = { ...emptyCheckpoint(), id, channel_values: { log: id }, channel_versions: { log: 1 } }
  config = await saver.put(config, checkpoint, { source: "loop", step: 0, parents: {} }, { log: 1 })
  return { put: id }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, id] = line.split(" ")
  const answer = await (command === "read" ? read() : put(id)).catch(({ code, name }) => ({ code, name }))
  console.log(JSON.stringify(answer))
}
