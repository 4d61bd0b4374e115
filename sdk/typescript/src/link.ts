import { errorOf, type Failure, refuse, type StateraftError } from "./errors.js"
import type { Request } from "./request.js"
import { Stream } from "./stream.js"
import { now, sleep } from "./time.js"
import { Attempt, type Transport } from "./transport.js"

/** What a node is taken to have said that said no retry. */
const defaultRetryMs = 1000
/** Bounds what nodes may ask for. */
const mostRetryMs = 60_000
/** Keeps the streams of a node that ends from arriving at the next one all at once. */
const spreadMs = 100
/** Bounds the pauses that grow, unless nodes ask for longer. */
const mostPauseMs = 5000

/**
 * A subscription's way to the cluster: one stream after the other. The first round of the endpoints is asked with but a
 * little spread. Then, before any is asked again, each pause is twice the one before, beginning with what the nodes ask
 * for by retry, plus up to half of it by chance.
 */
export class Link {
  /** Undefined: to be opened. */
  stream: Stream | undefined
  readonly #transport: Transport
  readonly #signal: AbortSignal
  #retryMs = defaultRetryMs
  #failures = 0 // in a row

  constructor(transport: Transport, signal: AbortSignal) {
    this.#transport = transport
    this.#signal = signal
    signal.addEventListener("abort", () => this.stream?.close())
  }

  set retryMs(ms: number) {
    this.#retryMs = Math.min(ms, mostRetryMs)
  }

  /** Opens a stream. Rejects with an `Attempt`. */
  async open(request: Request): Promise<void> {
    if (this.#signal.aborted) {
      throw closed()
    }
    this.stream = new Stream(this.#transport)
    await this.stream.open(request)
  }

  /** Closes the stream, and waits until the next endpoint may be asked. Throws if there is no point in asking. */
  async fail(error: unknown): Promise<void> {
    if (!(error instanceof Attempt)) {
      throw error
    }
    this.#count()
    this.stream?.close()
    this.stream = undefined
    if (this.#signal.aborted) {
      throw closed()
    }
    if (isFinal(error.failure)) {
      throw errorOf({ ...error.failure, attempts: this.#failures })
    }
    this.#transport.endpoints.leave(error.at)
    await sleep(this.#waitMs(error.failure), this.#signal)
    if (this.#signal.aborted) {
      throw closed()
    }
  }

  /** Takes note of a failure. One of a stream that lasted is the first. */
  #count(): void {
    const openedAt = this.stream?.openedAt
    if (openedAt !== undefined && now() - openedAt >= this.#retryMs) {
      this.#failures = 0
    }
    this.#failures++
  }

  #waitMs(failure: Failure): number {
    const round = this.#failures - this.#transport.endpoints.count
    if (round < 0) {
      return Math.random() * spreadMs
    }
    const asked = Math.max(this.#retryMs, Math.min((failure.retryAfter ?? 0) * 1000, mostRetryMs))
    const pause = Math.max(asked, Math.min(this.#retryMs * 2 ** Math.min(round, 10), mostPauseMs))
    return pause + (Math.random() * pause) / 2
  }
}

/** The error of a subscription that its own side ended. */
export function closed(): StateraftError {
  return refuse("CLOSED", "the subscription was closed")
}

/** Reports whether asking again would bring no other answer. */
function isFinal({ code, status }: Failure): boolean {
  if (status === undefined) {
    return code === "INVALID_REQUEST"
  }
  return status < 500 && status !== 429 && code !== "REVISION_UNKNOWN"
}
