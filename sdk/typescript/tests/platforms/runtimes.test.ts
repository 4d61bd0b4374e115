import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { expect, inject, test } from "vitest"
import { freeAddresses } from "../cluster/cluster.js"
import { run } from "../programs.js"

const deno = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "bin.cjs")

test.each([
  ["Node.js", process.execPath, ["tests/platforms/smoke.mjs"]],
  [
    "Deno",
    process.execPath,
    [deno, "run", "--no-lock", "--node-modules-dir=manual", "-A", "tests/platforms/smoke.mjs"],
  ],
])("%s", async (_, command, args) => {
  const printed = await run(command, args, {
    STATERAFT_ENDPOINTS: inject("endpoints").join(","),
    STATERAFT_REFUSED: `http://${await freeAddresses(1)}`,
  })
  expect(JSON.parse(printed)).toEqual({
    told: [
      ["set", { n: 1 }, 1],
      ["set", { n: 2 }, 2],
      ["delete", null, 3],
    ],
    conflict: ["VersionConflictError", "VERSION_CONFLICT", 2],
    raw: '{"n":2}',
    keys: [],
    unreachable: "UNREACHABLE",
  })
})
