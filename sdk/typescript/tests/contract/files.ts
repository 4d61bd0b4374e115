import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../root.js"

const folder = join(root, "docs", "contract")

export interface Wanted {
  method: string
  path: string
  headers?: Record<string, string>
  body?: string
  endpoint?: number
  pauseMs?: [number, number]
}

export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: string
  failure?: "refused" | "lost" | "torn" | "silent"
  chunks?: (string | { base64: string })[]
  end?: "eof" | "reset" | "open" | "silent"
  silentMs?: number
}

export interface Exchange {
  request: Wanted
  response: Answer
}

export interface Settings {
  endpoints?: number
  token?: string
  maxAttempts?: number
  timeoutMs?: number
  attemptTimeoutMs?: number
  readYourWrites?: boolean
}

export type Args = Record<string, any>

export interface Step {
  call: { method: string; args: Args }
  exchanges?: Exchange[]
  result?: any
  error?: Record<string, any>
  revision?: number
}

export interface Case {
  name: string
  client?: Settings
  steps: Step[]
}

export interface StreamCase {
  name: string
  client?: Settings
  subscribe: { method: string; args: Args }
  connections: Exchange[]
  events: Record<string, any>[]
  error?: Record<string, any>
}

export function read(file: string): any {
  return JSON.parse(readFileSync(join(folder, file), "utf8"))
}

/** All cases of the files of calls, and those of the retries, by file. */
export function calls(): [file: string, cases: Case[]][] {
  return [...filesOf("calls"), "retries.json"].map((file) => {
    const { cases } = read(file)
    for (const one of cases as Case[]) {
      known(one, "name", "about", "client", "given", "steps", "server")
      known(one.client ?? {}, ...settings)
      for (const step of one.steps) {
        known(step, "call", "exchanges", "result", "error", "revision")
        known(step.call, "method", "args")
        checkExchanges(step.exchanges ?? [])
      }
    }
    return [file, cases]
  })
}

/** All cases of the files of streams, by file. */
export function streams(): [file: string, cases: StreamCase[]][] {
  return filesOf("streams").map((file) => {
    const { cases } = read(file)
    for (const one of cases as StreamCase[]) {
      known(one, "name", "about", "client", "subscribe", "connections", "events", "error", "server")
      known(one.client ?? {}, ...settings)
      known(one.subscribe, "method", "args")
      checkExchanges(one.connections)
    }
    return [file, cases]
  })
}

const settings = ["endpoints", "token", "maxAttempts", "timeoutMs", "attemptTimeoutMs", "readYourWrites"]

function filesOf(name: string): string[] {
  return readdirSync(join(folder, name))
    .sort()
    .map((file) => `${name}/${file}`)
}

/** Checks exchanges, and fills in the requests of those that repeat the one before. */
function checkExchanges(exchanges: (Partial<Exchange> & Pick<Wanted, "endpoint" | "pauseMs">)[]): void {
  let before: Wanted | undefined
  for (const exchange of exchanges) {
    known(exchange, "request", "response", "endpoint", "pauseMs")
    known(exchange.request ?? {}, "method", "path", "headers", "body", "endpoint", "pauseMs")
    known(exchange.response ?? {}, "status", "headers", "body", "failure", "chunks", "end", "silentMs")
    const { endpoint, pauseMs } = exchange
    exchange.request ??= { ...(before as Wanted), endpoint: endpoint ?? 0, pauseMs: pauseMs ?? [0, 0] }
    before = exchange.request
  }
}

/** Fails on a member that these tests do not know. */
export function known(object: object, ...names: string[]): void {
  for (const name of Object.keys(object)) {
    if (!names.includes(name)) {
      throw new Error(`unknown member ${name} in ${JSON.stringify(object)}`)
    }
  }
}
