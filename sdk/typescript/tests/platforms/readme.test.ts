import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, inject, test } from "vitest"
import { folder, readmeBlock, run } from "../programs.js"

test("the quick start runs and prints as the README says", async () => {
  const script = join(folder, "quickstart.mjs")
  writeFileSync(script, readmeBlock("js"))
  try {
    const printed = await run(process.execPath, [script])
    expect(sorted(printed)).toEqual(sorted(readmeBlock("text")))
  } finally {
    rmSync(script)
  }
})

test("examples/agents.mjs: each task is done once", async () => {
  const endpoints = inject("endpoints").join(",")
  const printed = await run(process.execPath, ["examples/agents.mjs"], { STATERAFT_ENDPOINTS: endpoints })
  const lines = printed.trim().split("\n")
  expect(lines.pop()).toBe("5 of 5 tasks are done")
  const done = lines.map((line) => line.replace(/^(ada|bob) has done task:/, ""))
  expect(done.sort()).toEqual(["flights", "food", "hotels", "museums", "weather"])
})

/** Changes come as they come, between what the program prints itself; in order. */
function sorted(text: string): { changes: string[]; others: string[] } {
  const lines = text.trim().split("\n")
  const isChange = (line: string) => /^v\d+:/.test(line)
  return { changes: lines.filter(isChange), others: lines.filter((line) => !isChange(line)) }
}
