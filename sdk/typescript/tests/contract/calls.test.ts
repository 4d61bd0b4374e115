import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { checkError, checkResult } from "./check.js"
import { calls, type Step } from "./files.js"
import { methods } from "./methods.js"
import { Script, settled, useTestClock } from "./script.js"

beforeEach(useTestClock)
afterEach(() => {
  vi.useRealTimers()
})

for (const [file, cases] of calls()) {
  describe(file, () => {
    test.each(cases.map((one) => [one.name, one] as const))("%s", async (_, { client, steps }) => {
      const script = new Script(client)
      for (const step of steps) {
        await run(script, step)
      }
    })
  })
}

async function run(script: Script, { call, exchanges = [], result, error, revision }: Step): Promise<void> {
  const method = methods[call.method]
  if (!method) {
    throw new Error(`unknown method ${call.method}`)
  }
  expect((result === undefined) !== (error === undefined), "a result or an error").toBe(true)
  script.expects(exchanges)
  const outcome = await settled(
    Promise.resolve()
      .then(() => method(script.client, call.args))
      .then((got) => ({ got, failed: undefined }))
      .catch((failed: unknown) => ({ got: undefined, failed })),
  )
  script.done()
  if (error) {
    checkError(outcome.failed, error)
  } else {
    expect(outcome.failed).toBeUndefined()
    checkResult(outcome.got, result)
  }
  if (revision !== undefined) {
    expect(script.client.revision).toBe(revision)
  }
}
