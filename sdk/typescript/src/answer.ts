import type { Failure, Outcome } from "./errors.js"
import { type JsonObject, parseObject } from "./json.js"

/** Codes of Agent State that are not those of the State Store in lower case. */
const agentCodes: Readonly<Record<string, string>> = {
  invalid_json_body: "INVALID_REQUEST",
  missing_subject_id: "INVALID_REQUEST",
  invalid_ttl_seconds: "INVALID_TTL",
  value_too_large: "TOO_LARGE",
  usage_limit_exceeded: "OVERLOADED",
}

/** An answer that is not a success. It need not come from a node: a proxy's page has no code. */
export function failureOf(status: number, headers: Headers, body: string): Failure {
  if (isRedirect(status)) {
    const message = "the answer is a redirect, which is not followed: use the address that it leads to"
    return { code: "BAD_RESPONSE", message, outcome: "not_applied", status }
  }
  const told = errorBody(body)
  const code = told && codeOf(told)
  if (!told || code === undefined) {
    const message = `status ${status} without an error of the contract`
    return { code: "BAD_RESPONSE", message, outcome: outcomeOf(status), status, ...retryAfter(headers) }
  }
  return {
    code,
    message: text(told, "message") ?? "",
    outcome: (text(told, "outcome") as Outcome | undefined) ?? outcomeOf(status),
    status,
    ...retryAfter(headers),
    ...count("expectedVersion", told, "expectedVersion", "expected_version"),
    ...count("currentVersion", told, "currentVersion", "current_version"),
    ...currentValue(told),
    ...count("op", told, "op"),
    ...count("current", told, "current"),
    ...count("limit", told, "limit"),
  }
}

/** Browsers do not tell a redirect's status: it is 0. */
function isRedirect(status: number): boolean {
  return status === 0 || (status >= 300 && status < 400)
}

function errorBody(body: string): JsonObject | undefined {
  try {
    return parseObject(body)
  } catch {
    return undefined
  }
}

function codeOf(told: JsonObject): string | undefined {
  const error = text(told, "error")
  return text(told, "code") ?? (error && (agentCodes[error] ?? error.toUpperCase()))
}

/** What a status says of a write where the body is silent. */
function outcomeOf(status: number): Outcome {
  return status < 500 ? "not_applied" : "unknown"
}

function retryAfter(headers: Headers): { retryAfter?: number } {
  const seconds = headers.get("Retry-After") ?? ""
  return /^\d{1,5}$/.test(seconds) ? { retryAfter: Number(seconds) } : {}
}

function currentValue(told: JsonObject): { currentValue?: any; rawCurrentValue?: string } {
  const raw = told.raw("currentValue")
  return raw === undefined ? {} : { currentValue: told.members["currentValue"], rawCurrentValue: raw }
}

function text(told: JsonObject, name: string): string | undefined {
  const value = told.members[name]
  return typeof value === "string" && value !== "" ? value : undefined
}

/** The first of the members that is a number, under one name. */
function count<Name extends string>(as: Name, told: JsonObject, ...names: string[]): { [N in Name]?: number } {
  const value = names.map((name) => told.members[name]).find((member) => typeof member === "number")
  return (value === undefined ? {} : { [as]: value }) as { [N in Name]?: number }
}
