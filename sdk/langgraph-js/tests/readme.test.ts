import { execFileSync } from "node:child_process"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Cluster } from "./cluster.js"

const folder = join(import.meta.dirname, "..")
const script = join(folder, "quickstart.mjs")
afterEach(() => rmSync(script, { force: true }))

test("the quick start runs as printed, and goes on when it is run again", async () => {
  const readme = readFileSync(join(folder, "README.md"), "utf8")
  const [program, output] = ["js", "text"].map(
    (language) => readme.split(`\`\`\`${language}\n`)[1]?.split("```")[0] ?? "",
  )
  const cluster = await Cluster.start()
  try {
    const [first = "", second = ""] = cluster.urls
    const there = program?.replace("http://localhost:7474", first).replace("http://localhost:7475", second)
    writeFileSync(script, there ?? "")
    const run = () => execFileSync(process.execPath, [script], { encoding: "utf8" })
    expect(run()).toBe(output)
    expect(run()).toBe("turn 2\n")
  } finally {
    await cluster.stop()
  }
})
