import * as stateraft from "stateraft"
import { Agent, State, StateraftClient, StateraftError } from "stateraft"
import { expect, test } from "vitest"
import { read } from "./files.js"
import { methods, subscriptions } from "./methods.js"

const names = (read("methods.json").methods as { method: string }[]).map(({ method }) => method).sort()

test("every method of the contract is called by these tests, and no other", () => {
  expect([...Object.keys(methods), ...Object.keys(subscriptions)].sort()).toEqual(names)
})

test("the client has the contract's methods, and no other", () => {
  const of = (type: { prototype: object }, prefix: string) =>
    Object.getOwnPropertyNames(type.prototype)
      .filter((name) => name !== "constructor")
      .map((name) => prefix + name)
  const have = [...of(State, "state."), ...of(Agent, "agent."), ...of(StateraftClient, "")]
  expect(have.sort()).toEqual([...names, "close", "revision"].sort())
})

test("the classes of errors are those of the contract, and no other", () => {
  const { base, errors } = read("errors.json")
  const have = Object.entries(stateraft).filter(([, value]) =>
    Object.prototype.isPrototypeOf.call(StateraftError, value as object),
  )
  expect(have.map(([name]) => name).sort()).toEqual([...new Set(errors.map((e: any) => e.class))].sort())
  expect(StateraftError.name).toBe(base)
})
