import { type ChildProcessByStdio, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import type { RunnableConfig } from "@langchain/core/runnables"
import { Annotation, Command, END, interrupt, START, StateGraph } from "@langchain/langgraph"
import {
  type BaseCheckpointSaver,
  type CheckpointTuple,
  emptyCheckpoint,
  MemorySaver,
  uuid6,
} from "@langchain/langgraph-checkpoint"
import { StateraftSaver } from "@stateraft/langgraph"
import { StateraftClient, VersionConflictError } from "stateraft"
import { Cluster } from "./cluster.js"

let cluster: Cluster
let client: StateraftClient
let saver: StateraftSaver
beforeAll(async () => {
  cluster = await Cluster.start()
  client = new StateraftClient({ endpoints: cluster.urls })
})
beforeEach(() => {
  saver = new StateraftSaver(client, { prefix: randomUUID() })
})
afterAll(() => cluster?.stop())

const metadata = { source: "loop", step: 0, parents: {} } as const

async function put(on: StateraftSaver, config: CheckpointTuple["config"], value: unknown, id = uuid6(1)) {
  const version = on.getNextVersion(undefined)
  const checkpoint = { ...emptyCheckpoint(), id, channel_values: { log: value }, channel_versions: { log: version } }
  return on.put(config, checkpoint, metadata, { log: version })
}

async function collect(from: AsyncIterable<CheckpointTuple>): Promise<CheckpointTuple[]> {
  const all: CheckpointTuple[] = []
  for await (const tuple of from) {
    all.push(tuple)
  }
  return all
}

/** A client that has each request wait for what it is told of its body. */
function clientThat(first: (body: string) => Promise<void>): StateraftClient {
  return new StateraftClient({
    endpoints: cluster.urls,
    timeoutMs: 10_000,
    fetch: async (url, init) => {
      await first(String(init.body))
      return fetch(url, init)
    },
  })
}

function signal(): { given: Promise<void>; give: () => void } {
  let give = () => {}
  const given = new Promise<void>((resolve) => {
    give = resolve
  })
  return { given, give }
}

/** A process that goes on with a thread, see writer.mjs. */
class Writer {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>
  readonly #answers: AsyncIterator<string>

  constructor(prefix: string, thread: string) {
    const script = join(import.meta.dirname, "writer.mjs")
    this.#process = spawn(process.execPath, [script, cluster.urls.join(","), prefix, thread], {
      stdio: ["pipe", "pipe", "inherit"],
    })
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]()
  }

  async ask(line: string): Promise<unknown> {
    this.#process.stdin.write(`${line}\n`)
    return JSON.parse((await this.#answers.next()).value)
  }

  stop(): void {
    this.#process.stdin.end()
  }
}

test("of two processes that go on from one checkpoint, one is refused, and the thread has no fork", async () => {
  const [prefix, thread] = [randomUUID(), "t"]
  const [ada, bob] = [new Writer(prefix, thread), new Writer(prefix, thread)]
  const [a1, b1, a2, b2, b3] = Array.from({ length: 5 }, (_, i) => uuid6(i)) as [string, string, string, string, string]
  try {
    // Both begin.
    expect([await ada.ask("read"), await bob.ask("read")]).toEqual([{ id: null }, { id: null }])
    expect(await ada.ask(`put ${a1}`)).toEqual({ put: a1 })
    expect(await bob.ask(`put ${b1}`)).toEqual({ code: "VERSION_CONFLICT", name: "VersionConflictError" })
    // Both go on.
    expect([await ada.ask("read"), await bob.ask("read")]).toEqual([{ id: a1 }, { id: a1 }])
    expect(await ada.ask(`put ${a2}`)).toEqual({ put: a2 })
    expect(await bob.ask(`put ${b2}`)).toEqual({ code: "VERSION_CONFLICT", name: "VersionConflictError" })
    // The one that was refused reads again.
    expect(await bob.ask("read")).toEqual({ id: a2 })
    expect(await bob.ask(`put ${b3}`)).toEqual({ put: b3 })
  } finally {
    ada.stop()
    bob.stop()
  }
  const reader = new StateraftSaver(client, { prefix })
  const chain = await collect(reader.list({ configurable: { thread_id: thread } }))
  expect(
    chain.map(({ checkpoint, parentConfig }) => [checkpoint.id, parentConfig?.configurable?.["checkpoint_id"]]),
  ).toEqual([
    [b3, a2],
    [a2, a1],
    [a1, undefined],
  ])
})

test("a prefix with a colon is refused", () => {
  // its thread c would be the thread b:c of the prefix a
  expect(() => new StateraftSaver(client, { prefix: "a:b" })).toThrow("colon")
})

test("a fork that is meant, from an older checkpoint that was read, is put", async () => {
  const first = await put(saver, { configurable: { thread_id: "t" } }, "first")
  const second = await put(saver, first, "second")
  await saver.getTuple(first)
  const fork = await put(saver, first, "fork")
  expect((await saver.getTuple(fork))?.parentConfig).toEqual(first)
  expect((await saver.getTuple(second))?.checkpoint.channel_values).toEqual({ log: "second" })
  expect((await saver.getTuple({ configurable: { thread_id: "t" } }))?.checkpoint.channel_values).toEqual({
    log: "fork",
  })
})

test("a saver that has seen neither the head nor the parent goes on from the head alone", async () => {
  const prefix = randomUUID()
  const writer = new StateraftSaver(client, { prefix })
  const first = await put(writer, { configurable: { thread_id: "t" } }, 1)
  const second = await put(writer, first, 2)
  const other = new StateraftSaver(client, { prefix })
  await expect(put(other, first, 3)).rejects.toBeInstanceOf(VersionConflictError)
  await put(other, second, 3)
})

test("a saver that walks along ancestors forks from none of them", async () => {
  const prefix = randomUUID()
  const [one, other] = [new StateraftSaver(client, { prefix }), new StateraftSaver(client, { prefix })]
  const first = await put(one, { configurable: { thread_id: "t" } }, 1)
  const latest = await put(other, await put(other, first, 2), 3)
  expect(await one.getDeltaChannelHistory({ config: latest, channels: ["log"] })).toEqual({
    log: { writes: [], seed: 2 },
  })
  await one.getDeltaChannelHistory({ config: latest, channels: ["other"] })
  await expect(put(one, first, 4)).rejects.toBeInstanceOf(VersionConflictError)
})

test("values beyond a node's limit, and more channels than an atomic write takes", async () => {
  const long = "漢".repeat(1_500_000)
  const config = await put(saver, { configurable: { thread_id: "t" } }, long)
  await saver.putWrites(config, [["log", long]], "task")
  const tuple = await saver.getTuple(config)
  expect(tuple?.checkpoint.channel_values).toEqual({ log: long })
  expect(tuple?.pendingWrites).toEqual([["task", "log", long]])

  const values = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`c${i}`, i]))
  const versions = Object.fromEntries(Object.keys(values).map((name) => [name, 1]))
  const checkpoint = { ...emptyCheckpoint(), id: uuid6(1), channel_values: values, channel_versions: versions }
  const wide = await saver.put(config, checkpoint, metadata, versions)
  expect((await saver.getTuple(wide))?.checkpoint.channel_values).toEqual(values)

  await saver.deleteThread("t")
  expect(await saver.getTuple(config)).toBeUndefined()
  expect(await collect(saver.list({}))).toEqual([])
})

test("a writer that slept through the deletion of its thread cannot go on", async () => {
  const first = await put(saver, { configurable: { thread_id: "t" } }, 1)
  await saver.deleteThread("t")
  await expect(put(saver, first, 2)).rejects.toBeInstanceOf(VersionConflictError)
})

test("a thread that begins anew while it is deleted keeps what it has begun with", async () => {
  const prefix = randomUUID()
  const thread = { configurable: { thread_id: "t" } }
  const other = new StateraftSaver(client, { prefix })
  const values = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`c${i}`, i])) // more than one write deletes
  const versions = Object.fromEntries(Object.keys(values).map((name) => [name, 1]))
  const old = { ...emptyCheckpoint(), id: uuid6(1), channel_values: values, channel_versions: versions }
  await other.put(thread, old, metadata, versions)

  let begun: Promise<CheckpointTuple["config"]> | undefined
  const deleting = new StateraftClient({
    endpoints: cluster.urls,
    fetch: async (url, init) => {
      const response = await fetch(url, init)
      if (init.method === "POST") {
        begun ??= put(other, thread, "anew") // the head is deleted
        await begun
      }
      return response
    },
  })
  await new StateraftSaver(deleting, { prefix }).deleteThread("t")

  const found = await collect(other.list({}))
  expect(found.map(({ config }) => config)).toEqual([await begun])
  expect(found[0]?.checkpoint.channel_values).toEqual({ log: "anew" })
})

test.each([
  ["goes on from the head", ""],
  ["begins a namespace", "child"],
])("nothing is left by halves of a thread that is deleted while a run %s", async (_, ns) => {
  for (let moment = 0; ; moment++) {
    const prefix = randomUUID()
    const other = new StateraftSaver(client, { prefix })
    const head = await put(other, { configurable: { thread_id: "t" } }, 1)
    await client.state.set(`${prefix}:t`, "~note", "of somebody else")
    let left = moment
    let stored: CheckpointTuple["config"] | undefined
    const deleting = new StateraftClient({
      endpoints: cluster.urls,
      fetch: async (url, init) => {
        if (left-- === 0) {
          const config = ns === "" ? head : { configurable: { thread_id: "t", checkpoint_ns: ns } }
          stored = await put(other, config, 2).catch(() => undefined) // the head is gone
        }
        return fetch(url, init)
      },
    })
    await new StateraftSaver(deleting, { prefix }).deleteThread("t")
    if (left >= 0) {
      return // it was over before the moment came
    }
    const { keys } = await client.state.list(`${prefix}:t`)
    expect(keys.pop()).toEqual("~note")
    if (keys.length > 0) {
      expect(keys.map((key) => key.slice(0, 2))).toEqual(["b/", "c/", "h/"])
      expect((await collect(other.list({}))).map(({ config }) => config)).toEqual([stored])
    }
  }
})

test.each([
  ["a thread", ""],
  ["a namespace", "child"],
])("a long value that begins %s is whole or refused, if the thread is deleted meanwhile", async (_, ns) => {
  const long = "a".repeat(1_000_000)
  for (let moment = 0; ; moment++) {
    const prefix = randomUUID()
    if (ns !== "") {
      await put(new StateraftSaver(client, { prefix }), { configurable: { thread_id: "t" } }, 1)
    }
    const [early, deleted] = [signal(), signal()]
    const putting = clientThat(async (body) => {
      if (body.includes('"key":"c/')) {
        early.give() // the pieces are there
        await deleted.given
      }
    })
    const config = { configurable: { thread_id: "t", checkpoint_ns: ns } }
    const stored = put(new StateraftSaver(putting, { prefix }), config, long).catch((error: unknown) => error)
    await early.given
    let left = moment
    const deleting = clientThat(async () => {
      if (left-- === 0) {
        deleted.give()
        await stored
      }
    })
    await new StateraftSaver(deleting, { prefix }).deleteThread("t")
    deleted.give()
    await stored
    const tuple = await new StateraftSaver(client, { prefix }).getTuple(config)
    expect(tuple === undefined || tuple.checkpoint.channel_values["log"] === long, `moment ${moment}`).toBe(true)
    if (left >= 0) {
      expect(await stored).toBeInstanceOf(VersionConflictError)
      return // it was over before the moment came
    }
  }
})

test("a thread that is deleted while its first checkpoint is put is registered if it is there", async () => {
  const thread = { configurable: { thread_id: "t" } }
  for (let moment = 0; ; moment++) {
    const prefix = randomUUID()
    const other = new StateraftSaver(client, { prefix })
    let left = moment
    const putting = clientThat(async () => {
      if (left-- === 0) {
        await other.deleteThread("t")
      }
    })
    await put(new StateraftSaver(putting, { prefix }), thread, 1)
    const found = await other.getTuple(thread)
    const listed = await collect(other.list({}))
    expect(
      listed.map(({ config }) => config),
      `moment ${moment}`,
    ).toEqual(found ? [found.config] : [])
    if (left >= 0) {
      expect(moment).toBeGreaterThan(3)
      return // it was over before the moment came
    }
  }
})

test.each([
  ["short", "by the head", 10],
  ["short", "by its id", 10],
  ["short", "in a list", 10],
  ["long", "by the head", 1_100_000],
  ["long", "by its id", 1_100_000],
  ["long", "in a list", 1_100_000],
])("a %s value that is read %s is whole or not there, if the thread is deleted meanwhile", async (_, by, length) => {
  const [first, second] = ["a".repeat(length), "b".repeat(length)]
  for (let moment = 0; ; moment++) {
    const prefix = randomUUID()
    const thread = { configurable: { thread_id: "t", checkpoint_ns: "" } }
    const other = new StateraftSaver(client, { prefix })
    const latest = await put(other, await put(other, thread, first), second)
    let left = moment
    const reading = new StateraftClient({
      endpoints: cluster.urls,
      fetch: async (url, init) => {
        if (left-- === 0) {
          await other.deleteThread("t")
        }
        return fetch(url, init)
      },
    })
    const reader = new StateraftSaver(reading, { prefix })
    if (by === "in a list") {
      const found = (await collect(reader.list(thread))).map(({ checkpoint }) => checkpoint.channel_values["log"])
      expect([[second, first], [second], []]).toContainEqual(found)
    } else {
      const found = await reader.getTuple(by === "by its id" ? latest : thread)
      expect([{ log: second }, undefined]).toContainEqual(found?.checkpoint.channel_values)
    }
    if (left >= 0) {
      return // it was over before the moment came
    }
  }
})

test("a long value without a piece in the middle is not read", async () => {
  const prefix = randomUUID()
  const one = new StateraftSaver(client, { prefix })
  const config = await put(one, { configurable: { thread_id: "t" } }, "a".repeat(1_100_000))
  const { keys } = await client.state.list(`${prefix}:t`, { prefix: "x/" })
  expect(keys).toHaveLength(3)
  await client.state.delete(`${prefix}:t`, keys[1] ?? "")
  await expect(one.getTuple(config)).rejects.toThrow("pieces of a document are missing")
  await expect(collect(one.list(config))).rejects.toThrow("pieces of a document are missing")
})

test("a first put of a long value that was given up does not keep others from beginning", async () => {
  const prefix = randomUUID()
  const thread = { configurable: { thread_id: "t" } }
  const failing = clientThat(async (body) => {
    if (body.includes('"key":"c/')) {
      throw new Error("of the test")
    }
  })
  const long = "a".repeat(1_000_000)
  await expect(put(new StateraftSaver(failing, { prefix }), thread, long)).rejects.toThrow("of the test")
  const other = new StateraftSaver(client, { prefix })
  expect(await other.getTuple(thread)).toBeUndefined()
  const config = await put(other, thread, long)
  expect((await other.getTuple(thread))?.config).toEqual(config)
})

test("ordinary writes are kept as they were first put, special ones are replaced", async () => {
  const config = await put(saver, { configurable: { thread_id: "t" } }, 1)
  await saver.putWrites(
    config,
    [
      ["log", "a"],
      ["__error__", "first"],
    ],
    "task",
  )
  await saver.putWrites(
    config,
    [
      ["log", "b"],
      ["__error__", "second"],
      ["more", "c"],
    ],
    "task",
  )
  const { pendingWrites } = (await saver.getTuple(config)) ?? {}
  expect(pendingWrites).toEqual([
    ["task", "__error__", "second"],
    ["task", "log", "a"],
    ["task", "more", "c"],
  ])
})

test("a graph that another instance resumes", async () => {
  const prefix = randomUUID()
  const State = Annotation.Root({
    log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
  })
  const graph = () =>
    new StateGraph(State)
      .addNode("one", () => ({ log: ["one"] }))
      .addNode("two", () => ({ log: ["two"] }))
      .addEdge(START, "one")
      .addEdge("one", "two")
      .addEdge("two", END)
      .compile({ checkpointer: new StateraftSaver(client, { prefix }), interruptBefore: ["two"] })
  const config = { configurable: { thread_id: "conversation" } }
  expect(await graph().invoke({ log: ["start"] }, config)).toMatchObject({ log: ["start", "one"] })
  expect(await graph().invoke(null, config)).toMatchObject({ log: ["start", "one", "two"] })
  expect(await graph().invoke({ log: ["again"] }, config)).toMatchObject({
    log: ["start", "one", "two", "again", "one"],
  })
})

const Log = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
})

test.each([1, 2, 3])("checkpoint %i is copied, and the run goes on from the copy", async (at) => {
  const config = { configurable: { thread_id: "conversation" } }
  const graph = new StateGraph(Log)
    .addNode("one", () => ({ log: ["one"] }))
    .addNode("two", () => ({ log: ["two"] }))
    .addEdge(START, "one")
    .addEdge("one", "two")
    .compile({ checkpointer: saver })
  await graph.invoke({ log: ["start"] }, config)
  const states = []
  for await (const state of graph.getStateHistory(config)) {
    states.push(state)
  }
  const original = states.at(-1 - at)
  const copy = await graph.getState(await graph.updateState(original?.config ?? {}, null, "__copy__"))
  expect(copy.values).toEqual(original?.values)
  expect(copy.parentConfig).toEqual(original?.parentConfig)
  expect(await graph.invoke(null, config)).toEqual({ log: ["start", "one", "two"] })
})

/** A graph with a subgraph whose state outlasts a run. */
function withSubgraph(checkpointer: BaseCheckpointSaver) {
  const inner = new StateGraph(Log)
    .addNode("in", ({ log }) => ({ log: [`in ${log.length}`] }))
    .addEdge(START, "in")
    .compile({ checkpointer: true })
  return new StateGraph(Log)
    .addNode("out", () => ({ log: ["out"] }))
    .addNode("inner", inner)
    .addEdge(START, "out")
    .addEdge("out", "inner")
    .compile({ checkpointer })
}

test.each([
  [1, 1],
  [2, 1],
  [2, 2],
])("time travel with a stateful subgraph: %i runs, to the one that is number %i from the end", async (runs, to) => {
  const logs: string[][] = []
  const memory = new MemorySaver()
  const prefix = randomUUID()
  const one = new StateraftSaver(client, { prefix })
  const pairs = [
    [memory, memory],
    [one, one],
    [one, new StateraftSaver(client, { prefix })],
  ] as const
  for (const [first, second] of pairs) {
    const thread = { configurable: { thread_id: randomUUID() } }
    const app = withSubgraph(first)
    for (let run = 0; run < runs; run++) {
      await app.invoke({ log: [`run ${run}`] }, thread)
    }
    const before: RunnableConfig[] = []
    for await (const { next, config } of app.getStateHistory(thread)) {
      if (next[0] === "inner") {
        before.push(config)
      }
    }
    const again = withSubgraph(second)
    await again.invoke(null, before[to - 1])
    logs.push((await again.invoke({ log: ["last"] }, thread)).log)
  }
  expect(logs.slice(1)).toEqual([logs[0], logs[0]])
})

test("a node that interrupts twice is resumed twice", async () => {
  const State = Annotation.Root({ answers: Annotation<string[]> })
  const graph = new StateGraph(State)
    .addNode("ask", () => ({ answers: [interrupt("name?"), interrupt("age?")] }))
    .addEdge(START, "ask")
    .addEdge("ask", END)
    .compile({ checkpointer: saver })
  const config = { configurable: { thread_id: "conversation" } }
  await graph.invoke({ answers: [] }, config)
  await graph.invoke(new Command({ resume: "Ada" }), config)
  expect(await graph.invoke(new Command({ resume: "36" }), config)).toEqual({ answers: ["Ada", "36"] })
  expect((await graph.getState(config)).values).toEqual({ answers: ["Ada", "36"] })
})
