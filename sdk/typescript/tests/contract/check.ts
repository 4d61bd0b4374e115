import * as stateraft from "stateraft"
import { StateraftError } from "stateraft"
import { expect } from "vitest"
import { read } from "./files.js"

const classes = new Map<string, string>(read("errors.json").errors.map((e: any) => [e.code, e.class]))
const members = new Set(
  "code status outcome attempts expectedVersion currentVersion currentValue op retryAfter current limit".split(" "),
)

/** Compares the members of an error that the contract lists, and its class. */
export function checkError(error: any, want: Record<string, any>): void {
  expect(error).toBeInstanceOf(StateraftError)
  expect(Object.keys(want).filter((name) => !members.has(name))).toEqual([])
  expect(error).toMatchObject(want)
  if (!("status" in want)) {
    expect(error.status).toBeUndefined()
  }
  const name = classes.get(want["code"]) ?? "StateraftError"
  expect(error.name).toBe(name)
  expect(error.constructor).toBe((stateraft as Record<string, any>)[name])
}

/** Compares a result. Where the contract gives only the text of a value, its decoded form is left out. */
export function checkResult(got: any, want: any): void {
  expect(strip(got, want)).toEqual(want)
}

function strip(got: any, want: any): any {
  if (Array.isArray(got) && Array.isArray(want)) {
    return got.map((one, i) => strip(one, want[i]))
  }
  if (typeof got !== "object" || got === null || typeof want !== "object" || want === null) {
    return got
  }
  const names = Object.keys(got).filter((name) => name !== "value" || !("raw" in want) || "value" in want)
  return Object.fromEntries(names.map((name) => [name, strip(got[name], want[name])]))
}

/** An event in the form of the contract, with the values decoded or as text as `want` has them. */
export function eventAs(want: Record<string, any>, event: Record<string, any>): unknown {
  const { rawOldValue, rawNewValue, ...others } = event
  if (!want["raw"]) {
    return others
  }
  const { oldValue: _old, newValue: _new, ...rest } = others
  return { ...rest, raw: { oldValue: rawOldValue, newValue: rawNewValue } }
}
