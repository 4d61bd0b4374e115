import { existsSync } from "node:fs"
import { dirname, join } from "node:path"

/** The folder of the whole project, wherever the tests were copied to within it. */
export const root = ((): string => {
  for (let at = import.meta.dirname; at !== dirname(at); at = dirname(at)) {
    if (existsSync(join(at, "docs", "contract", "methods.json"))) {
      return at
    }
  }
  throw new Error("docs/contract is not above the tests")
})()
