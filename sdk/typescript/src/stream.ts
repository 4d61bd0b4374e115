import { failureOf } from "./answer.js"
import type { Failure } from "./errors.js"
import type { Request } from "./request.js"
import { type Block, SseDecoder } from "./sse.js"
import { after, now } from "./time.js"
import { Attempt, bodyFailure, connectionFailure, readBody, type Transport } from "./transport.js"

/** How long a node may be silent before it counts as dead: three of the keep-alives that it sends every 15 s. */
export const streamSilenceMs = 45_000

/** An answer that goes on. Its methods reject with an `Attempt`. */
export class Stream {
  readonly #transport: Transport
  readonly #endpoint: string
  readonly at: number
  /** When the node had said where the stream begins. Undefined: not yet. */
  openedAt: number | undefined
  readonly #controller = new AbortController()
  readonly #decoder = new SseDecoder()
  #limitMs: number // how long the node may be silent
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  #blocks: Block[] = [] // read, and still to be told

  constructor(transport: Transport) {
    const { url, at } = transport.endpoints.current()
    this.#transport = transport
    this.#endpoint = url
    this.at = at
    this.#limitMs = transport.attemptTimeoutMs
  }

  /** Sends the request, and resolves once the stream has said where it begins. */
  async open(request: Request): Promise<void> {
    const stop = this.#watch()
    try {
      const response = await this.#transport
        .send(this.#endpoint, request, this.#limitMs, this.#controller.signal)
        .catch((cause: unknown) => this.#fail(connectionFailure(this.#endpoint, this.#reason(cause))))
      await this.#check(response)
      this.#transport.revision.observe(response.headers)
      this.#reader = response.body?.getReader()
    } finally {
      stop()
    }
    await this.#begin()
    this.openedAt = now()
    this.#limitMs = streamSilenceMs
  }

  /** Reads up to the first block that says where the stream is. */
  async #begin(): Promise<void> {
    let retryMs: number | undefined
    for (;;) {
      const block = await this.next()
      retryMs = block.retryMs ?? retryMs
      if (block.id !== "" || block.data !== undefined) {
        this.#blocks.unshift({ ...block, retryMs })
        return
      }
    }
  }

  async #check(response: Response): Promise<void> {
    const { status, headers } = response
    const media = headers.get("Content-Type")?.split(";")[0]?.trim().toLowerCase()
    if (status === 200 && media === "text/event-stream") {
      return
    }
    const body = await readBody(response).catch((cause: unknown) =>
      this.#fail(bodyFailure(this.#endpoint, status, this.#reason(cause))),
    )
    this.#fail({ ...failureOf(status, headers, body), endpoint: this.#endpoint })
  }

  async next(): Promise<Block> {
    for (let block = this.#blocks.shift(); ; block = this.#blocks.shift()) {
      if (block) {
        return block
      }
      await this.#read()
    }
  }

  async #read(): Promise<void> {
    const stop = this.#watch()
    try {
      const { done, value } = (await this.#reader?.read()) ?? { done: true, value: undefined }
      if (done || value === undefined) {
        throw new Error("the stream has ended")
      }
      this.#blocks = this.#decoder.push(value)
    } catch (cause) {
      if (cause instanceof RangeError) {
        throw this.badResponse(cause)
      }
      this.#fail(bodyFailure(this.#endpoint, 200, this.#reason(cause)))
    } finally {
      stop()
    }
  }

  /** The failure of a stream that is not of the contract. */
  badResponse(cause: Error): Attempt {
    const message = `the stream is not of the contract: ${cause.message}`
    const failure = { code: "BAD_RESPONSE", outcome: "not_applied", status: 200, message, cause } as const
    return new Attempt(this.at, { ...failure, endpoint: this.#endpoint })
  }

  /** Closes the connection, and ends what waits for it. */
  close(): void {
    this.#controller.abort(new Error("the stream was closed"))
  }

  #watch(): () => void {
    const silent = new Error(`the node is silent for ${this.#limitMs} ms`)
    return after(this.#limitMs, () => this.#controller.abort(silent))
  }

  /** What ended the connection, in place of the error that came of it. */
  #reason(cause: unknown): unknown {
    return this.#controller.signal.aborted ? this.#controller.signal.reason : cause
  }

  #fail(failure: Failure): never {
    throw new Attempt(this.at, failure)
  }
}
