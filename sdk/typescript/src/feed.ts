import { type Event, parseEvent } from "./event.js"
import { closed, Link } from "./link.js"
import type { SubscribeOptions } from "./options.js"
import type { Request } from "./request.js"
import type { Block } from "./sse.js"
import type { Stream } from "./stream.js"
import { Attempt, type Transport } from "./transport.js"

/** What a subscription is to. Without a subject it is of the State Store. */
export interface Topic {
  path: string
  subject?: string
}

/** The changes of a topic, pulled one by one: each once, whole and in the order of revisions, over whichever streams. */
export class Feed {
  readonly #transport: Transport
  readonly #topic: Topic
  readonly #options: SubscribeOptions & { prefix?: string }
  readonly #signal: AbortSignal
  readonly #link: Link
  #cursor: number | undefined // all up to here has been told; undefined: nothing to resume from
  #syncing = false // the stream tells the state; there is no cursor until it is complete
  #partial = false // the caller holds a piece of that state

  constructor(
    transport: Transport,
    topic: Topic,
    options: SubscribeOptions & { prefix?: string },
    signal: AbortSignal,
  ) {
    this.#transport = transport
    this.#topic = topic
    this.#options = options
    this.#signal = signal
    this.#link = new Link(transport, signal)
    this.#cursor = options.fromRevision ?? undefined
  }

  /** All changes up to it have been told. 0 while a snapshot is not complete. */
  get revision(): number {
    return this.#cursor ?? 0
  }

  /** Opens a stream, however many attempts that takes. */
  async open(): Promise<void> {
    this.#syncing = this.#cursor === undefined && (this.#options.snapshot === true || this.#partial)
    for (;;) {
      const request = this.#request()
      try {
        return await this.#link.open(request)
      } catch (error) {
        if (error instanceof Attempt && error.failure.code === "REVISION_UNKNOWN") {
          this.#transport.revision.forget(request.minRevision)
        }
        await this.#link.fail(error)
      }
    }
  }

  /** Waits for the next event. Rejects with a ClosedError once the signal is aborted, or with what a node refused with. */
  async next(): Promise<Event> {
    for (;;) {
      const { stream } = this.#link
      const event = stream ? await this.#step(stream) : await this.#reopen()
      if (event) {
        return event
      }
    }
  }

  async #reopen(): Promise<Event | undefined> {
    await this.open()
    const voids = this.#partial // what comes begins from the start
    this.#partial = false
    return voids ? { type: "resync" } : undefined
  }

  async #step(stream: Stream): Promise<Event | undefined> {
    try {
      const block = await stream.next()
      if (this.#signal.aborted) {
        throw closed()
      }
      return this.#take(block, stream)
    } catch (error) {
      await this.#link.fail(error)
      return undefined
    }
  }

  /** Asks for a stream from the cursor on. */
  #request(): Request {
    const seen = this.#transport.readYourWrites ? this.#transport.revision.seen : 0
    return {
      kind: "read",
      method: "GET",
      path: this.#topic.path,
      query: { prefix: this.#options.prefix || undefined, snapshot: this.#syncing },
      headers: {
        Accept: "text/event-stream",
        "X-Subject-ID": this.#topic.subject,
        "Last-Event-ID": this.#cursor === undefined ? undefined : String(this.#cursor),
      },
      minRevision: this.#cursor === undefined ? seen : 0,
    }
  }

  /** Returns the event that a block tells, if it tells one. */
  #take({ event, data, id, retryMs }: Block, stream: Stream): Event | undefined {
    if (retryMs) {
      this.#link.retryMs = retryMs
    }
    const revision = /^\d+$/.test(id) ? Number(id) : undefined
    if (event === "resync") {
      this.#cursor = undefined
      this.#syncing = this.#partial = true
      return { type: "resync" }
    }
    if (event === "synced" && revision !== undefined) {
      this.#cursor = undefined
      this.#syncing = this.#partial = false
      this.#advance(revision)
      return { type: "synced", revision }
    }
    if (event === "" && data !== undefined) {
      return this.#unnamed(data, stream)
    }
    if (revision !== undefined && !this.#syncing) {
      this.#advance(revision)
    }
    return undefined
  }

  /** Takes a change, or a key of a snapshot. A change that was told before is passed over. */
  #unnamed(data: string, stream: Stream): Event | undefined {
    const event = parse(data, stream)
    if (this.#syncing) {
      this.#partial = true
      return event
    }
    const revision = event.revision ?? 0
    if (this.#cursor !== undefined && revision <= this.#cursor) {
      return undefined
    }
    this.#advance(revision)
    return event
  }

  /** Moves the cursor, never backwards. */
  #advance(revision: number): void {
    this.#cursor = Math.max(revision, this.#cursor ?? 0)
    this.#transport.revision.raise(this.#cursor)
  }
}

function parse(data: string, stream: Stream): Event {
  try {
    return parseEvent(data)
  } catch (cause) {
    throw stream.badResponse(cause as Error)
  }
}
