import { failureOf } from "./answer.js"
import {
  type Config,
  defaultAttemptTimeoutMs,
  defaultEndpoint,
  defaultMaxAttempts,
  defaultTimeoutMs,
} from "./config.js"
import { Endpoints } from "./endpoints.js"
import type { Failure } from "./errors.js"
import { inBrowser, neverConnected } from "./platform.js"
import { absent, headerValue, queryOf, type Request } from "./request.js"
import { Revision } from "./revision.js"
import { after, now } from "./time.js"

/** Bounds what is read of an answer. A list without a limit can be longer: `pages` reads it in pieces. */
export const maxAnswerBytes: number = 64 * 1024 * 1024

/** What all calls and subscriptions of a client share. */
export class Transport {
  readonly endpoints: Endpoints
  readonly revision: Revision = new Revision()
  readonly timeoutMs: number
  readonly attemptTimeoutMs: number
  readonly maxAttempts: number
  readonly readYourWrites: boolean
  readonly #headers: Readonly<Record<string, string>>
  readonly #fetch: NonNullable<Config["fetch"]>

  constructor(config: Config) {
    this.endpoints = new Endpoints(config.endpoints?.length ? config.endpoints : [config.baseUrl ?? defaultEndpoint])
    this.timeoutMs = config.timeoutMs || defaultTimeoutMs
    this.attemptTimeoutMs = config.attemptTimeoutMs || defaultAttemptTimeoutMs
    this.maxAttempts = config.maxAttempts || defaultMaxAttempts
    this.readYourWrites = config.readYourWrites ?? true
    this.#headers = {
      ...(inBrowser() ? {} : { "User-Agent": "stateraft-js" }),
      ...(config.apiKey ? { Authorization: headerValue(`Bearer ${config.apiKey}`) } : {}),
    }
    this.#fetch = config.fetch ?? ((url, init) => fetch(url, init))
  }

  /** Sends a request to one endpoint, once. The node gets nine tenths of the time, so that its answer is here before this side hangs up. */
  send(endpoint: string, request: Request, limitMs: number, signal: AbortSignal): Promise<Response> {
    const seconds = Math.min(Math.max((limitMs * 0.9) / 1000, 0.001), 60)
    const headers: Record<string, string> = { ...this.#headers, "X-Stateraft-Timeout": seconds.toFixed(3) }
    for (const [name, value] of Object.entries(request.headers ?? {})) {
      if (!absent(value)) {
        headers[name] = headerValue(value)
      }
    }
    if (request.minRevision) {
      headers["X-Stateraft-Min-Revision"] = String(request.minRevision)
    }
    // A write that is redirected can arrive as a GET, whose answer looks like its own.
    const init: RequestInit = { method: request.method, headers, signal, redirect: "manual" }
    if (request.body !== undefined) {
      headers["Content-Type"] = "application/json"
      init.body = request.body
    }
    return this.#fetch(endpoint + request.path + queryOf(request.query), init)
  }

  /** Sends a request to the endpoint in use, once, and decodes a success. Rejects with an `Attempt`. */
  async attempt<Result>(
    request: Request,
    deadline: number,
    signal: AbortSignal,
    decode: (body: string) => Result,
  ): Promise<Result> {
    const { url, at } = this.endpoints.current()
    const limit = Math.min(this.attemptTimeoutMs, deadline - now())
    const controller = new AbortController()
    const abort = () => controller.abort(signal.reason)
    const stop = after(limit, () => controller.abort(new Error(`no answer within ${limit} ms`)))
    signal.addEventListener("abort", abort)
    try {
      const response = await this.send(url, request, limit, controller.signal).catch((cause: unknown) => {
        throw new Attempt(at, connectionFailure(url, cause))
      })
      const body = await this.#read(response, url, at)
      return decodeBody(
        body,
        decode,
        (failure) => new Attempt(at, { ...failure, endpoint: url, status: response.status }),
      )
    } finally {
      stop()
      signal.removeEventListener("abort", abort)
    }
  }

  async #read(response: Response, url: string, at: number): Promise<string> {
    if (response.headers.get("Connection") === "close") {
      this.endpoints.leave(at) // a node that ends its connections is about to end itself
    }
    const body = await readBody(response).catch((cause: unknown) => {
      throw new Attempt(at, bodyFailure(url, response.status, cause))
    })
    this.revision.observe(response.headers)
    if (response.ok) {
      return body
    }
    throw new Attempt(at, { ...failureOf(response.status, response.headers, body), endpoint: url })
  }
}

function decodeBody<Result>(
  body: string,
  decode: (body: string) => Result,
  failed: (failure: Failure) => Attempt,
): Result {
  try {
    return decode(body)
  } catch (cause) {
    throw failed({ code: "BAD_RESPONSE", outcome: "unknown", message: "the answer is not of the contract", cause })
  }
}

/** An attempt that failed, at that place in the ring. */
export class Attempt extends Error {
  readonly at: number
  readonly failure: Failure

  constructor(at: number, failure: Failure) {
    super(failure.message)
    this.at = at
    this.failure = failure
  }
}

class TooLong extends Error {}

export async function readBody(response: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ""
  let size = 0
  const reader = response.body?.getReader()
  for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
    size += read.value.byteLength
    if (size > maxAnswerBytes) {
      void reader?.cancel()
      throw new TooLong("the answer is too long; a limit makes it shorter")
    }
    text += decoder.decode(read.value, { stream: true })
  }
  return text + decoder.decode()
}

/** Tells a connection that was never made, so that nothing was sent, from one that broke at some other time. */
export function connectionFailure(endpoint: string, cause: unknown): Failure {
  const refused = neverConnected(cause)
  return {
    code: refused ? "UNREACHABLE" : "NO_ANSWER",
    outcome: refused ? "not_applied" : "unknown",
    message: reasonOf(cause),
    endpoint,
    cause,
  }
}

/** For an answer that began and did not end as it should. */
export function bodyFailure(endpoint: string, status: number, cause: unknown): Failure {
  const failure = { outcome: "unknown", endpoint, cause } as const
  return cause instanceof TooLong
    ? { ...failure, code: "BAD_RESPONSE", status, message: cause.message }
    : { ...failure, code: "NO_ANSWER", message: `the answer broke off: ${reasonOf(cause)}` }
}

function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  return inner instanceof Error ? inner.message || inner.name : String(inner)
}
