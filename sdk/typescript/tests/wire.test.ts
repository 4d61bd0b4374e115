import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createTcpServer, type Socket } from "node:net"
import { BadResponseError, NoAnswerError, StateraftClient, UnreachableError } from "stateraft"
import { afterEach, expect, test } from "vitest"
import { freeAddresses } from "./cluster/cluster.js"
import { run } from "./programs.js"

/** What the contract's files say of failures, over real sockets. */

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) {
    close()
  }
})

function once(client: StateraftClient): Promise<unknown> {
  return client.state.set("wf", "k", 1).catch((error: unknown) => error)
}

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

async function unusedUrl(): Promise<string> {
  return `http://${await freeAddresses(1)}`
}

test("refused: nothing was sent, and the next endpoint is asked", async () => {
  const refused = await unusedUrl()
  const served = await serve((_, response) => response.end('{"version":1}'))
  const alone = new StateraftClient({ baseUrl: refused, maxAttempts: 1 })
  const error = await once(alone)
  expect(error).toBeInstanceOf(UnreachableError)
  expect(error).toMatchObject({ outcome: "not_applied", attempts: 1, endpoint: refused })
  expect(await once(new StateraftClient({ endpoints: [refused, served] }))).toEqual({ version: 1 })
})

test("a host that there is not", async () => {
  const client = new StateraftClient({ baseUrl: "http://stateraft.invalid", maxAttempts: 1 })
  expect(await once(client)).toBeInstanceOf(UnreachableError)
})

test("refused by its two addresses, of a name", async () => {
  const refused = (await unusedUrl()).replace("127.0.0.1", "localhost")
  expect(await once(new StateraftClient({ baseUrl: refused, maxAttempts: 1 }))).toBeInstanceOf(UnreachableError)
})

test("lost: the connection is closed without an answer", async () => {
  const url = await serve((request) => request.socket.destroy())
  const error = await once(new StateraftClient({ baseUrl: url }))
  expect(error).toBeInstanceOf(NoAnswerError)
  expect(error).toMatchObject({ outcome: "unknown", attempts: 1 })
})

test("lost: the connection is reset without an answer", async () => {
  const url = await serve((request) => request.socket.resetAndDestroy())
  const error = await once(new StateraftClient({ baseUrl: url }))
  expect(error).toMatchObject({ code: "NO_ANSWER", outcome: "unknown", attempts: 1 })
})

test("a name with several addresses is unreachable if all are", async () => {
  const refused = Object.assign(new Error("refused"), { code: "ECONNREFUSED", syscall: "connect" })
  const reset = Object.assign(new Error("reset"), { code: "EHOSTUNREACH", syscall: "read" })
  const failing = (errors: Error[]) => {
    const fetch = () => Promise.reject(new TypeError("fetch failed", { cause: new AggregateError(errors) }))
    return once(new StateraftClient({ fetch, maxAttempts: 1 }))
  }
  expect(await failing([refused, refused])).toBeInstanceOf(UnreachableError)
  expect(await failing([refused, reset])).toBeInstanceOf(NoAnswerError)
})

test("a call that is aborted ends at once, within a pause too", async () => {
  let asked: () => void = () => {}
  const overloaded = new Promise<void>((resolve) => {
    asked = resolve
  })
  const url = await serve((_, response) => {
    const body = '{"error":"OVERLOADED","code":"OVERLOADED","message":"m","outcome":"not_applied"}'
    response.writeHead(429, { "Retry-After": "20" }).end(body)
    asked()
  })
  const controller = new AbortController()
  const error = new StateraftClient({ baseUrl: url }).state
    .set("wf", "k", 1, { signal: controller.signal })
    .catch((e: unknown) => e)
  await overloaded
  let from = 0
  setTimeout(() => {
    from = Date.now()
    controller.abort()
  }, 1000) // by then it pauses
  expect(await error).toMatchObject({ code: "OVERLOADED", outcome: "not_applied", attempts: 1 })
  expect(Date.now() - from).toBeLessThan(5000)
})

test("a subscription that is closed while it looks for a node ends at once", async () => {
  const client = new StateraftClient({ baseUrl: await unusedUrl() })
  const waiting = client.state.subscribe("wf", "k")[Symbol.asyncIterator]().next()
  let from = 0
  setTimeout(() => {
    from = Date.now()
    client.close()
  }, 200) // it pauses for a second
  expect(await waiting).toEqual({ done: true, value: undefined })
  expect(Date.now() - from).toBeLessThan(500)
})

test.each([301, 302, 303, 307, 308])("a redirect (%d) is not followed: nothing was written", async (status) => {
  const asked: string[] = []
  const url = await serve((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    if (request.url?.startsWith("/v1/")) {
      response.writeHead(status, { Location: "/elsewhere" }).end()
    } else {
      response.end('{"version":7}')
    }
  })
  const client = new StateraftClient({ baseUrl: url })
  const redirected = { code: "BAD_RESPONSE", outcome: "not_applied", status, attempts: 1 }
  const error = await once(client)
  expect(error).toBeInstanceOf(BadResponseError)
  expect(error).toMatchObject(redirected)
  await expect(client.state.get("wf", "k")).rejects.toMatchObject(redirected)
  await expect(client.state.subscribe("wf", "k").opened).rejects.toMatchObject(redirected)
  expect(asked).toEqual(["POST /v1/state/wf/k", "GET /v1/state/wf/k", "GET /v1/state/wf/k/stream"])
})

test("torn: half of an answer", async () => {
  const url = await serve((_, response) => {
    response.writeHead(200, { "Content-Length": "100" }).write('{"version"')
    setImmediate(() => response.destroy())
  })
  const error = await once(new StateraftClient({ baseUrl: url }))
  expect(error).toBeInstanceOf(NoAnswerError)
  expect(error).toMatchObject({ outcome: "unknown", attempts: 1 })
})

test("silent: no answer within the attempt's time", async () => {
  const url = await serve(() => {})
  const error = await once(new StateraftClient({ baseUrl: url, attemptTimeoutMs: 100 }))
  expect(error).toBeInstanceOf(NoAnswerError)
  expect(error).toMatchObject({ outcome: "unknown", attempts: 1 })
})

test("an answer that is no HTTP is lost", async () => {
  const server = createTcpServer((socket: Socket) => socket.end("hello\r\n\r\n"))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  closers.push(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  expect(await once(new StateraftClient({ baseUrl: url }))).toMatchObject({ code: "NO_ANSWER", outcome: "unknown" })
})

test("a node that ends its connections is left", async () => {
  const draining = await serve((_, response) => response.setHeader("Connection", "close").end('{"version":1}'))
  const other = await serve((_, response) => response.end('{"version":2}'))
  const client = new StateraftClient({ endpoints: [draining, other] })
  expect([await once(client), await once(client)]).toEqual([{ version: 1 }, { version: 2 }])
})

test("an answer over 64 MiB is refused", async () => {
  const url = await serve((_, response) => {
    const piece = "a".repeat(1024 * 1024)
    const more = (): void => {
      while (!response.destroyed && response.write(piece)) {}
    }
    response.on("drain", more)
    more()
  })
  const error = await once(new StateraftClient({ baseUrl: url, attemptTimeoutMs: 30_000 }))
  expect(error).toBeInstanceOf(BadResponseError)
})

test("a callback's subscription that is refused ends the process, unless its end is handled", async () => {
  const url = await serve((_, response) => response.writeHead(404).end("no such page"))
  const program = (handle: string) => `
    import { StateraftClient } from "stateraft"
    const subscription = new StateraftClient({ baseUrl: ${JSON.stringify(url)} }).state.subscribe("wf", "k", () => {})
    ${handle}`
  const runs = (handle: string) => run(process.execPath, ["--input-type=module", "--eval", program(handle)])
  await expect(runs("")).rejects.toThrow("BAD_RESPONSE")
  expect(await runs("subscription.done.catch((error) => console.log(error.code))")).toBe("BAD_RESPONSE\n")
})

test("an iteration that nobody begins is closed with its signal, and fails no process", async () => {
  const url = await serve((_, response) => response.writeHead(404).end("no such page"))
  const client = new StateraftClient({ baseUrl: url })
  const aborted = client.state.subscribe("wf", "k", undefined, { signal: AbortSignal.abort() })
  await aborted.done
  const refused = client.state.subscribe("wf", "k")
  await expect(refused.opened).rejects.toBeInstanceOf(BadResponseError)
  await expect(refused.done).rejects.toBeInstanceOf(BadResponseError)
})

test("closing a subscription closes its connection", async () => {
  const closed = new Promise<void>((resolve) => {
    void serve((request, response) => {
      request.socket.on("close", () => resolve())
      response.writeHead(200, { "Content-Type": "text/event-stream" }).write("retry: 1000\nid: 4\n\n")
    }).then(async (url) => {
      const subscription = new StateraftClient({ baseUrl: url }).state.subscribe("wf", "k", () => {})
      await subscription.opened
      subscription.close()
      await subscription.done
    })
  })
  await closed
})
