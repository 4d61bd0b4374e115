import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { StateraftClient } from "stateraft"
import { afterAll, beforeAll, expect, test } from "vitest"
import { Cluster } from "../cluster/cluster.js"
import { folder } from "../programs.js"

/**
 * A page of another origin uses the client as it was built: it writes, and has the example beside it show the workflow,
 * whose every state it tells to this test.
 */
const page = `<!doctype html>
<iframe></iframe>
<script type="module">
  import { StateraftClient } from "/dist/index.js"
  let last = Promise.resolve()
  const tell = (what) => {
    last = last.then(() => fetch("/told", { method: "POST", body: what })) // one at a time, so that they stay in order
    return last
  }
  try {
    const nodes = new URLSearchParams(location.search).get("nodes")
    const client = new StateraftClient({ endpoints: nodes.split(",") })
    await client.state.set("page", "a", { by: "the page" })
    const late = await client.state.setWithVersion("page", "a", 2, 7).catch((error) => error)
    await tell([late.name, late.code, late.currentVersion, client.revision > 0].join())
    const moved = new StateraftClient({ baseUrl: location.origin + "/moved" })
    const error = await moved.state.set("page", "a", 3).catch((error) => error)
    await tell([error.name, error.outcome, error.attempts].join())
    const frame = document.querySelector("iframe")
    frame.src = "/examples/watch.html?workflow=page&nodes=" + nodes
    frame.onload = () => {
      const table = frame.contentDocument.querySelector("table")
      const show = () => tell([...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent).join(" ")).join("; "))
      new MutationObserver(show).observe(table, { childList: true })
      show()
    }
  } catch (error) {
    tell(String(error))
  }
</script>`

const told: string[] = []
let heard: () => void = () => {}
let site: Server
let cluster: Cluster
let browser: ChildProcess
const profile = mkdtempSync(join(tmpdir(), "browser-"))

beforeAll(async () => {
  const { server } = await import(join(folder, "examples", "serve.mjs"))
  site = createServer((request, response) => {
    if (request.url?.startsWith("/moved/")) {
      response.writeHead(302, { Location: "/examples/moved.json" }).end()
    } else if (request.url === "/examples/moved.json") {
      response.end('{"version":7}')
    } else if (request.method === "POST") {
      request.setEncoding("utf8").on("data", (text: string) => {
        told.push(text)
        heard()
      })
      request.on("end", () => response.end())
    } else if (request.url?.startsWith("/?")) {
      response.setHeader("Content-Type", "text/html; charset=utf-8").end(page)
    } else {
      server.emit("request", request, response)
    }
  }).listen(0, "127.0.0.1")
  await once(site, "listening")
  const origin = `http://127.0.0.1:${(site.address() as { port: number }).port}`
  cluster = await Cluster.start("--cors-origins", origin)
  const flags = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
  ]
  const url = `${origin}/?nodes=${cluster.urls.join(",")}`
  browser = spawn(findBrowser(), [...flags, "--remote-debugging-port=0", `--user-data-dir=${profile}`, url], {
    stdio: "ignore",
    detached: true, // a group of its own, with the processes that it starts
  })
})

afterAll(async () => {
  if (browser?.pid) {
    const gone = once(browser, "exit")
    process.kill(-browser.pid, "SIGKILL")
    await gone
  }
  site?.close()
  site?.closeAllConnections()
  await cluster?.stop()
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
})

test("a page writes and watches, also when the node that serves it is killed", async () => {
  await tells("VersionConflictError,VERSION_CONFLICT,1,true")
  await tells("BadResponseError,not_applied,1") // where it was redirected
  await tells('a v1 {"by":"the page"}')
  const client = new StateraftClient({ endpoints: cluster.from(1) })
  await client.state.set("page", "b", 1)
  await tells('a v1 {"by":"the page"}; b v1 1')
  await cluster.kill(0)
  for (const n of [2, 3, 4]) {
    await client.state.set("page", "b", n, { idempotencyKey: crypto.randomUUID() })
  }
  await client.state.delete("page", "a", { idempotencyKey: crypto.randomUUID() })
  await tells("b v4 4")
  const states = told.filter((text) => text.includes("b v"))
  const versions = states.map((text) => Number(/b v(\d)/.exec(text)?.[1]))
  expect([...new Set(versions)]).toEqual([1, 2, 3, 4])
})

/** Waits until the page tells that. */
async function tells(what: string): Promise<void> {
  for (const end = Date.now() + 30_000; !told.includes(what); ) {
    const news = new Promise<void>((resolve) => {
      heard = resolve
      setTimeout(resolve, 1000)
    })
    await news
    if (Date.now() > end) {
      throw new Error(`the page tells ${JSON.stringify(told)}, and not ${what}`)
    }
  }
}

function findBrowser(): string {
  const names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"]
  const folders = (process.env["PATH"] ?? "").split(delimiter)
  const found = names.flatMap((name) => folders.map((at) => join(at, name))).find((path) => existsSync(path))
  if (found === undefined) {
    throw new Error("no Chromium on this machine")
  }
  return found
}
