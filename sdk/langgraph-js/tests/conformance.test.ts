import { randomUUID } from "node:crypto"
import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation"
import { StateraftSaver } from "@stateraft/langgraph"
import { StateraftClient } from "stateraft"
import { Cluster } from "./cluster.js"

let cluster: Cluster

/** Each saver has a prefix of its own: what one has put is invisible to the next. */
const initializer = {
  checkpointerName: "StateraftSaver",
  createCheckpointer: () =>
    new StateraftSaver(new StateraftClient({ endpoints: cluster.urls }), { prefix: randomUUID() }),
}

beforeAll(async () => {
  cluster = await Cluster.start()
})
afterAll(() => cluster?.stop())

validate(initializer)
deltaChannelHistoryTests(initializer)
