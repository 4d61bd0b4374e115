import { type JsonObject, objectsIn, parseObject } from "./json.js"

/** A key of the State Store as it was read. */
export interface Entry<Value = any> {
  key: string
  value: Value
  /** The value's exact text. */
  raw: string
  version: number
  /** null: the node did not tell. */
  updatedAt: Date | null
  /** null: no end. */
  expiresAt: Date | null
}

/** A piece of a list of keys. */
export interface Page<Value = any> {
  keys: string[]
  /** With `values`. */
  entries: Entry<Value>[] | null
  /** Goes into `after` for the next page. null: this is the last. */
  next: string | null
}

/** A key of Agent State as it was read. */
export interface AgentEntry<Value = any> {
  key: string
  value: Value
  /** The value's exact text. */
  raw: string
  version: number
  /** Of the last writer. null: none. */
  session: string | null
  createdAt: Date | null
  updatedAt: Date | null
  /** null: no end. */
  expiresAt: Date | null
}

/** A piece of a list of entries. */
export interface AgentPage<Value = any> {
  entries: AgentEntry<Value>[]
  /** Goes into `after` for the next page. null: this is the last. */
  next: string | null
}

/** One operation of an atomic write. Without `expectedVersion` it has no condition; 0: the key is absent. */
export type Op =
  | { op: "set"; key: string; value: unknown; ttl?: number; expectedVersion?: number }
  | { op: "delete"; key: string; expectedVersion?: number }
  /** Changes nothing, and lets the others happen only if the key is at that version. */
  | { op: "check"; key: string; expectedVersion: number }

/** What one operation did. */
export interface OpResult {
  /** Of the key afterwards, or at which a delete ended it. */
  version: number
  /** Of a delete: whether the key was there. */
  deleted?: boolean
}

// How they are read from answers. All throw if an answer is not of the contract.

export function entryAnswer(key: string): (body: string) => Entry {
  return (body) => entry(parseObject(body), key)
}

export function versionAnswer(body: string): { version: number } {
  return { version: numberIn(parseObject(body), "version") }
}

export function deletedAnswer(body: string): { deleted: boolean } {
  return { deleted: parseObject(body).members["deleted"] === true }
}

export function pageAnswer(body: string): Page {
  const answer = parseObject(body)
  const keys: unknown = answer.members["keys"]
  if (!Array.isArray(keys)) {
    throw new SyntaxError("keys is not a list")
  }
  const entries = answer.raw("entries") === undefined ? null : objectsIn(answer, "entries").map((one) => entry(one))
  return { keys, entries, next: stringIn(answer, "next") }
}

export function resultsAnswer(body: string): { results: OpResult[] } {
  return { results: objectsIn(parseObject(body), "results").map(({ members }) => members as OpResult) }
}

export function agentEntryAnswer(body: string): AgentEntry {
  return agentEntry(parseObject(body))
}

export function agentPageAnswer(body: string): AgentPage {
  const answer = parseObject(body)
  return { entries: objectsIn(answer, "data").map(agentEntry), next: stringIn(answer, "next") }
}

function entry(answer: JsonObject, key: string = String(answer.members["key"])): Entry {
  return {
    key,
    ...valueIn(answer),
    version: numberIn(answer, "version"),
    updatedAt: instantIn(answer, "updatedAt"),
    expiresAt: instantIn(answer, "expiresAt"),
  }
}

function agentEntry(answer: JsonObject): AgentEntry {
  return {
    key: String(answer.members["key"]),
    ...valueIn(answer),
    version: numberIn(answer, "version"),
    session: stringIn(answer, "session_id"),
    createdAt: instantIn(answer, "created_at"),
    updatedAt: instantIn(answer, "updated_at"),
    expiresAt: instantIn(answer, "expires_at"),
  }
}

function valueIn(answer: JsonObject): { value: any; raw: string } {
  const raw = answer.raw("value")
  if (raw === undefined) {
    throw new SyntaxError("there is no value")
  }
  return { value: answer.members["value"], raw }
}

function numberIn(answer: JsonObject, name: string): number {
  const value: unknown = answer.members[name]
  if (typeof value !== "number") {
    throw new SyntaxError(`${name} is not a number`)
  }
  return value
}

function stringIn(answer: JsonObject, name: string): string | null {
  const value: unknown = answer.members[name]
  return typeof value === "string" && value !== "" ? value : null
}

function instantIn(answer: JsonObject, name: string): Date | null {
  const text = stringIn(answer, name)
  return text === null ? null : new Date(text)
}
