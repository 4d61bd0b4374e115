import { refuse } from "./errors.js"

/** What would come of sending a call twice. */
export type Kind =
  | "read"
  /** It could happen twice, or undo what came between. */
  | "write"
  /** A write on condition of one version: versions never come back, so it happens once at most. */
  | "versioned"
  /** A write with an Idempotency-Key: the second time, it gets the first answer. */
  | "keyed"
  /** A question to one node, asked once. */
  | "probe"

/** One call, however often it is sent. */
export interface Request {
  kind: Kind
  method: "GET" | "POST" | "PUT" | "DELETE"
  /** Escaped. */
  path: string
  query?: Query
  headers?: Headers
  body?: string
  minRevision?: number
  signal?: AbortSignal | undefined
}

/** Parameters by name. Those that are absent or false are left out. */
export type Query = Record<string, string | number | boolean | undefined>

/** Headers by name. Those that are absent are left out. */
export type Headers = Record<string, string | undefined>

/** Reports whether an option is absent. Callers without types, and JSON, have null for that. */
export function absent(option: unknown): option is null | undefined {
  return option === undefined || option === null
}

/** Returns the query with its question mark, or nothing. */
export function queryOf(query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => !absent(value) && value !== false)
  const pairs = given.map(([name, value]) => `${name}=${escapeName("a parameter", String(value), "INVALID_REQUEST")}`)
  return pairs.length > 0 ? `?${pairs.join("&")}` : ""
}

/** Escapes a name for a path or a query. One that has no UTF-8 is refused with the code. */
export function escapeName(member: string, name: string, code: string): string {
  try {
    return encodeURIComponent(name)
  } catch (cause) {
    throw refuse(code, `${member} has half a surrogate pair`, cause)
  }
}

/** Reports whether text arrives as it is when it travels in a header. */
export function fitsHeader(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return !/[\x00-\x1f\x7f]|^ | $/.test(text)
}

/** Returns the text as `fetch` wants it, which sends each character as one byte: UTF-8 on the wire. */
export function headerValue(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("")
}
