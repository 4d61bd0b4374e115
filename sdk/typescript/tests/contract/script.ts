import { StateraftClient } from "stateraft"
import { expect, vi } from "vitest"
import type { Answer, Exchange, Settings, Wanted } from "./files.js"

/** Of these headers a request has exactly the ones that are listed. */
const checkedHeaders = [
  "Authorization",
  "If-Match",
  "If-None-Match",
  "Idempotency-Key",
  "X-Subject-ID",
  "X-Session-ID",
  "X-Stateraft-Min-Revision",
  "Last-Event-ID",
]

/** Answers requests in process, each as it is written, so that time can be the test's; throws on others. */
export class Script {
  #exchanges: Exchange[] = []
  #asked = 0
  #began = 0
  #last = 0 // when the last answer came or failed
  readonly #settings: Settings
  readonly #streaming: boolean
  readonly #mistakes: unknown[] = []
  readonly #streams: { closed: boolean }[] = []
  readonly client: StateraftClient

  constructor(settings: Settings = {}, streaming = false) {
    this.#settings = settings
    this.#streaming = streaming
    const { endpoints = 1, token, ...others } = settings
    this.client = new StateraftClient({
      endpoints: Array.from({ length: endpoints }, (_, i) => `http://node${i}`),
      ...(token === undefined ? {} : { apiKey: token }),
      ...others,
      fetch: (url, init) => this.#fetch(url, init),
    })
  }

  /** The next requests are to be these. */
  expects(exchanges: Exchange[]): void {
    this.#exchanges = exchanges
    this.#asked = 0
    this.#began = this.#last = Date.now()
  }

  /** Fails if requests were other than expected, or did not come. */
  done(): void {
    for (const mistake of this.#mistakes) {
      throw mistake
    }
    expect(this.#asked, "requests").toBe(this.#exchanges.length)
  }

  /** Fails unless the client has closed every stream. */
  allClosed(): void {
    expect(this.#streams.filter(({ closed }) => !closed)).toEqual([])
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    const exchange = this.#exchanges[this.#asked++]
    try {
      expect(exchange, `one request too many: ${init.method} ${url}`).toBeDefined()
      this.#check(new URL(url), url, init, (exchange as Exchange).request)
    } catch (mistake) {
      this.#mistakes.push(mistake)
      throw mistake
    }
    return this.#answer((exchange as Exchange).response, init.signal as AbortSignal)
  }

  async #answer(answer: Answer, signal: AbortSignal): Promise<Response> {
    try {
      switch (answer.failure) {
        case "refused":
          throw new TypeError("fetch failed", { cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) })
        case "lost":
          throw new TypeError("fetch failed", { cause: Object.assign(new Error("closed"), { code: "UND_ERR_SOCKET" }) })
        case "silent":
          await aborted(signal)
          throw signal.reason
      }
      return this.#respond(answer, signal)
    } finally {
      this.#last = Date.now()
    }
  }

  #respond(answer: Answer, signal: AbortSignal): Response {
    const isStream = answer.end !== undefined
    const type = isStream ? "text/event-stream" : "application/json"
    const headers = { "Content-Type": type, ...answer.headers }
    if (answer.status === 204 || answer.status === 304) {
      return new Response(null, { status: answer.status, headers })
    }
    const body = isStream ? this.#streamBody(answer, signal) : this.#plainBody(answer)
    return new Response(body, { status: answer.status, headers })
  }

  #plainBody({ body = "", failure }: Answer): ReadableStream<Uint8Array> {
    const bytes = new TextEncoder().encode(body)
    const chunks = failure === "torn" ? [bytes.slice(0, bytes.length / 2)] : [bytes]
    return chunked(chunks, async () => {
      this.#last = Date.now()
      if (failure === "torn") {
        throw new TypeError("terminated")
      }
    })
  }

  #streamBody({ chunks = [], end, silentMs }: Answer, signal: AbortSignal): ReadableStream<Uint8Array> {
    const stream = { closed: false }
    this.#streams.push(stream)
    signal.addEventListener("abort", () => {
      stream.closed = true
    })
    const ended = async () => {
      const from = Date.now()
      if (end === "open" || end === "silent") {
        await aborted(signal)
      }
      this.#last = Date.now()
      if (end === "silent" && this.#last - from !== silentMs) {
        this.#mistakes.push(new Error(`gave up on a silent node after ${this.#last - from} ms, not ${silentMs}`))
      }
      if (end !== "eof") {
        throw signal.reason ?? new TypeError("terminated")
      }
    }
    return chunked(chunks.map(bytesOf), ended)
  }

  #check(url: URL, target: string, init: RequestInit, want: Wanted): void {
    const pause = Date.now() - this.#last
    const [least, most] = want.pauseMs ?? [0, 0]
    expect(url.host).toBe(`node${want.endpoint ?? 0}`)
    expect(shown(init.method, target.slice(url.origin.length))).toEqual(shown(want.method, want.path))
    expect(init.body ?? "").toBe(want.body ?? "")
    const headers = new Headers(init.headers)
    expect(headers.get("Content-Type")).toBe(want.body ? "application/json" : null)
    expect(headers.get("Accept")).toBe(this.#streaming ? "text/event-stream" : null)
    expect(headers.get("User-Agent")).toBe("stateraft-js")
    for (const name of checkedHeaders) {
      expect(utf8(headers.get(name)), name).toBe(want.headers?.[name] ?? null)
    }
    expect(Object.keys(want.headers ?? {}).every((name) => checkedHeaders.includes(name))).toBe(true)
    const told = Number(headers.get("X-Stateraft-Timeout")) // in whole milliseconds
    expect(Math.abs(told - this.#nodeSeconds())).toBeLessThan(0.001)
    expect(pause, `pause before request ${this.#asked}`).toBeGreaterThanOrEqual(least)
    expect(pause, `pause before request ${this.#asked}`).toBeLessThanOrEqual(most)
  }

  /** Nine tenths of the time that the attempt has. */
  #nodeSeconds(): number {
    const { attemptTimeoutMs = 5000, timeoutMs = 30_000 } = this.#settings
    const left = this.#streaming ? attemptTimeoutMs : timeoutMs - (Date.now() - this.#began)
    return (Math.min(attemptTimeoutMs, left) * 0.9) / 1000
  }
}

/** A body of these chunks, which come when they are asked for; then `ended` decides. */
function chunked(chunks: Uint8Array[], ended: () => Promise<void>): ReadableStream<Uint8Array> {
  const left = [...chunks]
  return new ReadableStream(
    {
      async pull(controller) {
        const next = left.shift()
        if (next) {
          controller.enqueue(next)
          return
        }
        await ended()
        controller.close()
      },
    },
    { highWaterMark: 0 },
  )
}

function bytesOf(chunk: string | { base64: string }): Uint8Array {
  return typeof chunk === "string" ? new TextEncoder().encode(chunk) : Buffer.from(chunk.base64, "base64")
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve()
    }
    signal.addEventListener("abort", () => resolve())
  })
}

function utf8(header: string | null): string | null {
  return header === null ? null : Buffer.from(header, "latin1").toString("utf8")
}

/** A request's line so that equal ones look equal: segments and query decoded, the latter in order. */
function shown(method: string | undefined, target: string): unknown {
  const [path = "", query = ""] = target.split("?")
  return [method, path.split("/").map(decodeURIComponent), [...new URLSearchParams(query)].sort()]
}

/** Lets the test's clock run until the promise is settled. */
export async function settled<T>(promise: Promise<T>): Promise<T> {
  let waiting = true
  const done = () => {
    waiting = false
  }
  promise.then(done, done)
  for (let i = 0; waiting; i++) {
    if (i > 10_000) {
      throw new Error("the call does not end")
    }
    await idle()
    if (waiting) {
      vi.advanceTimersToNextTimer()
    }
  }
  return promise
}

/** Waits until all that can happen without time passing has happened. */
export async function idle(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Makes time the test's. What is left real is what the platform needs to go on by itself. */
export function useTestClock(): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] })
}
