import { refuse } from "./errors.js"

/** A value as JSON text, which is stored with every digit, member and escape. Made by `rawJson`. */
export class RawJson {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  /** Is called for one within a value, which would be stored as an object with this text. */
  toJSON(): never {
    throw new TypeError("rawJson stands for a whole value, not for a part of one")
  }
}

/**
 * Gives a value as JSON text, such as a number beyond 2^53. It stands in place of a whole value, not within one.
 *
 *     await client.state.set("wf-1", "id", rawJson("12345678901234567890"))
 */
export function rawJson(text: string): RawJson {
  return new RawJson(text)
}

/**
 * Returns the JSON text of a value to be stored. What cannot be one is an InvalidRequestError, and so is what
 * JSON.stringify would silently make another value of: NaN, an infinity, a RawJson within it.
 */
export function encode(value: unknown): string {
  const text = textOf(value)
  if (text === undefined) {
    throw refuse("VALUE_REQUIRED", `a value is any JSON, null included, not ${typeof value}`)
  }
  return text
}

function textOf(value: unknown): string | undefined {
  try {
    if (value instanceof RawJson) {
      JSON.parse(value.text)
      return value.text
    }
    return JSON.stringify(value, finite)
  } catch (cause) {
    throw refuse("INVALID_REQUEST", `the value is not JSON: ${String(cause)}`, cause)
  }
}

function finite(_name: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new TypeError(`there is no ${value} in JSON`)
  }
  return value
}

/** Joins members, given by name and text, to the text of an object. Those without a text are left out. */
export function joinMembers(members: readonly (readonly [name: string, text: string | undefined])[]): string {
  const given = members.filter(([, text]) => text !== undefined)
  return `{${given.map(([name, text]) => `"${name}":${text}`).join(",")}}`
}

/** An object that was parsed, with the exact text of each member. */
export interface JsonObject {
  readonly members: Readonly<Record<string, any>>
  /** The text of a member as it was sent. Undefined: there is no such member. */
  raw(name: string): string | undefined
}

/** Parses a text that is one object. Throws if it is something else. */
export function parseObject(text: string): JsonObject {
  const members: unknown = JSON.parse(text)
  if (typeof members !== "object" || members === null || Array.isArray(members)) {
    throw new SyntaxError("the JSON is not an object")
  }
  return objectOf(members, text)
}

/** Parses a member that is a list of objects. Throws if it is something else. */
export function objectsIn(object: JsonObject, name: string): JsonObject[] {
  const list: unknown = object.members[name]
  if (!Array.isArray(list)) {
    throw new SyntaxError(`${name} is not a list`)
  }
  const texts = elementsOf(object.raw(name) ?? "[]")
  return list.map((element, i) => objectOf(element, texts[i] ?? ""))
}

function objectOf(members: Record<string, any>, text: string): JsonObject {
  let texts: Map<string, string> | undefined
  return {
    members,
    raw(name) {
      texts ??= membersOf(text)
      return texts.get(name)
    },
  }
}

// The rest splits texts that JSON.parse has accepted, so it need not look for mistakes.

function membersOf(text: string): Map<string, string> {
  const members = new Map<string, string>()
  let at = afterSpace(text, text.indexOf("{") + 1)
  while (text[at] !== "}") {
    const colon = valueEnd(text, at)
    const name = JSON.parse(text.slice(at, colon)) as string
    const from = afterSpace(text, afterSpace(text, colon) + 1)
    const to = valueEnd(text, from)
    members.set(name, text.slice(from, to))
    at = afterComma(text, to)
  }
  return members
}

function elementsOf(text: string): string[] {
  const elements: string[] = []
  let at = afterSpace(text, text.indexOf("[") + 1)
  while (text[at] !== "]") {
    const to = valueEnd(text, at)
    elements.push(text.slice(at, to))
    at = afterComma(text, to)
  }
  return elements
}

function afterComma(text: string, at: number): number {
  const next = afterSpace(text, at)
  return text[next] === "," ? afterSpace(text, next + 1) : next
}

function afterSpace(text: string, at: number): number {
  let next = at
  while (" \t\n\r".includes(text[next] ?? "?")) {
    next++
  }
  return next
}

/** Returns where the value that begins at `from` ends. */
function valueEnd(text: string, from: number): number {
  let depth = 0
  for (let at = from; ; ) {
    const sign = text[at] ?? ""
    if (sign === '"') {
      at = stringEnd(text, at + 1)
    } else if (sign === "{" || sign === "[") {
      depth++
      at++
    } else if (sign === "}" || sign === "]") {
      depth--
      at++
    } else {
      at = depth > 0 ? at + 1 : scalarEnd(text, at)
    }
    if (depth === 0) {
      return at
    }
  }
}

/** Returns what is behind a string whose opening quote is before `from`. */
function stringEnd(text: string, from: number): number {
  for (let at = from; ; at++) {
    if (text[at] === '"') {
      return at + 1
    }
    if (text[at] === "\\") {
      at++
    }
  }
}

/** Returns what is behind a number, true, false or null. */
function scalarEnd(text: string, from: number): number {
  let at = from
  while (at < text.length && !",]} \t\n\r".includes(text[at] ?? "")) {
    at++
  }
  return at
}
