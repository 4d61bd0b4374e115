import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { inject } from "vitest"

/** Where the tests, the examples and the README are. */
export const folder: string = join(import.meta.dirname, "..")

/** Runs a program to its end and returns what it prints. Throws if it fails. */
export async function run(command: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  const child = spawn(command, args, {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let printed = ""
  let complaints = ""
  child.stdout.on("data", (data) => {
    printed += data
  })
  child.stderr.on("data", (data) => {
    complaints += data
  })
  const [code] = await once(child, "close")
  if (code !== 0) {
    throw new Error(`${command} ${args.join(" ")}: exit code ${code}\n${complaints}`)
  }
  return printed
}

/** Returns the first block of code of a language in the README, with the endpoints of `make run` replaced. */
export function readmeBlock(language: string): string {
  const readme = readFileSync(join(folder, "README.md"), "utf8")
  const block = readme.split(`\`\`\`${language}\n`)[1]?.split("```")[0]
  if (block === undefined) {
    throw new Error(`README.md has no ${language}`)
  }
  return inject("endpoints").reduce((text, url, i) => text.replace(`http://localhost:${7474 + i}`, url), block)
}
