import { type Entry, type Op, rawJson, type StateraftClient, type Subscription } from "stateraft"
import { type Args, known } from "./files.js"

type Call = (client: StateraftClient, args: Args) => Promise<unknown>
type Subscribing = (client: StateraftClient, args: Args, callback?: (event: any) => unknown) => Subscription<any>

/** The methods of methods.json, but for streams, with results in the contract's form. */
export const methods: Record<string, Call> = {
  "state.get": async (c, { workflow, key, ...options }) => entry(await c.state.get(workflow, key, options)),
  "state.set": (c, { workflow, key, value, raw, ttl, ...options }) =>
    Object.keys(options).length === 0
      ? c.state.set(workflow, key, asValue(value, raw), ttl)
      : c.state.set(workflow, key, asValue(value, raw), { ...(ttl === undefined ? {} : { ttl }), ...options }),
  "state.setWithVersion": (c, { workflow, key, value, raw, expectedVersion, ...options }) =>
    c.state.setWithVersion(workflow, key, asValue(value, raw), expectedVersion, options),
  "state.delete": (c, { workflow, key, ...options }) => c.state.delete(workflow, key, options),
  "state.list": async (c, { workflow, ...options }) => page(await c.state.list(workflow, options)),
  "state.pages": async (c, { workflow, ...options }) => ({
    pages: await collect(c.state.pages(workflow, options), page),
  }),
  "state.atomic": (c, { workflow, ops, ...options }) => c.state.atomic(workflow, ops.map(operation), options),
  "agent.get": async (c, { subject, key, ...options }) => entry(await c.agent.get(subject, key, options)),
  "agent.set": (c, { subject, key, value, raw, ttl, ...options }) =>
    c.agent.set(subject, key, asValue(value, raw), ttl, options),
  "agent.delete": async (c, { subject, key, ...options }) => (await c.agent.delete(subject, key, options)) ?? {},
  "agent.list": async (c, { subject, ...options }) => page(await c.agent.list(subject, options)),
  "agent.pages": async (c, { subject, ...options }) => ({
    pages: await collect(c.agent.pages(subject, options), page),
  }),
  health: async (c) => (await c.health()) ?? {},
  ready: async (c) => (await c.ready()) ?? {},
}

export const subscriptions: Record<string, Subscribing> = {
  "state.subscribe": (c, { workflow, key, ...options }, callback) =>
    c.state.subscribe(workflow, key, callback, options),
  "state.subscribeWorkflow": (c, { workflow, ...options }, callback) =>
    c.state.subscribeWorkflow(workflow, callback, options),
  "agent.subscribe": (c, { subject, key, ...options }, callback) => c.agent.subscribe(subject, key, callback, options),
  "agent.subscribeSubject": (c, { subject, ...options }, callback) =>
    c.agent.subscribeSubject(subject, callback, options),
}

function asValue(value: unknown, raw: string | undefined): unknown {
  return raw === undefined ? value : rawJson(raw)
}

function operation({ raw, ...op }: any): Op {
  known(op, "op", "key", "value", "ttl", "expectedVersion")
  return raw === undefined ? op : { ...op, value: rawJson(raw) }
}

/** Shows instants as the contract does. */
function entry(read: Pick<Entry, "value">): unknown {
  const shown = Object.entries(read).map(([name, value]) => [name, value instanceof Date ? value.toISOString() : value])
  return Object.fromEntries(shown)
}

function page<P extends { entries: Pick<Entry, "value">[] | null }>(read: P): unknown {
  return { ...read, entries: read.entries ? read.entries.map(entry) : null }
}

async function collect<P>(pages: AsyncIterable<P>, show: (page: P) => unknown): Promise<unknown[]> {
  const all: unknown[] = []
  for await (const one of pages) {
    all.push(show(one))
  }
  return all
}
