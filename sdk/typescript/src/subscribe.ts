import { ClosedError, refuse } from "./errors.js"
import type { Event } from "./event.js"
import { Feed, type Topic } from "./feed.js"
import type { SubscribeOptions } from "./options.js"
import { absent } from "./request.js"
import type { Transport } from "./transport.js"

/** Makes a subscription. */
export type Subscribe = <Told extends Event>(
  topic: Topic,
  callback: ((event: Told) => unknown) | undefined,
  options: SubscribeOptions & { prefix?: string },
) => Subscription<Told>

/**
 * The changes of one key, or of the keys of one workflow or subject. They go to the callback, one at a time: if it
 * returns a promise, the next waits for it. Then handle `done`, too, which alone tells why no more come:
 *
 *     client.state.subscribe("wf-1", "status", show).done.catch(report)
 *
 * Without a callback, they are for whoever iterates:
 *
 *     for await (const event of client.state.subscribe("wf-1", "status")) { … }
 *
 * Leaving the loop closes the subscription. Events wait at the node until they are asked for, and none is lost by that.
 */
export class Subscription<Told extends Event = Event> implements AsyncIterable<Told> {
  /** Fulfilled once a node tells: what changes after that is told. Rejected if the subscription ended before. */
  readonly opened: Promise<void>
  /**
   * Fulfilled once the subscription is closed. Rejected with the error of an answer that asking again would not change,
   * or with what the callback threw. Where there is a callback, that nobody handles it is an unhandled rejection, which
   * ends a Node.js process; an iteration throws the error itself.
   */
  readonly done: Promise<void>
  readonly #feed: Feed
  readonly #controller = new AbortController()
  readonly #events: AsyncGenerator<Told, void, undefined>
  readonly #pushing: boolean // to a callback
  #settle!: { resolve: () => void; reject: (error: unknown) => void }

  /** @internal `ended` is called once the subscription has ended, for whatever reason. */
  constructor(
    transport: Transport,
    topic: Topic,
    callback: ((event: Told) => unknown) | undefined,
    options: SubscribeOptions & { prefix?: string },
    ended: () => void,
  ) {
    if (options.snapshot && !absent(options.fromRevision)) {
      throw refuse("INVALID_REQUEST", "a snapshot is of the present: fromRevision excludes it")
    }
    this.#feed = new Feed(transport, topic, options, this.#controller.signal)
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.#controller.signal.addEventListener("abort", ended)
    this.#follow(options.signal)
    this.opened = this.#feed.open()
    this.opened.catch((error: unknown) => this.#end(error))
    this.#events = this.#pull()
    this.#pushing = !absent(callback)
    if (callback) {
      void this.#push(callback)
    } else {
      this.done.catch(() => {}) // whoever iterates gets it
    }
  }

  /** Where `fromRevision` would go on: all changes up to it have been told. 0 while a snapshot is not complete. */
  get revision(): number {
    return this.#feed.revision
  }

  /** Ends the subscription, and an iteration that waits. It may be called again. */
  close(): void {
    this.#end(undefined)
  }

  /** The events, for one loop. Throws if they go to a callback. */
  [Symbol.asyncIterator](): AsyncIterator<Told, void, undefined> {
    if (this.#pushing) {
      throw refuse("INVALID_REQUEST", "the events of a subscription with a callback go there alone")
    }
    return {
      next: () => this.#events.next(),
      return: async () => {
        this.close()
        return this.#events.return()
      },
    }
  }

  #end(error: unknown): void {
    if (error === undefined || error instanceof ClosedError) {
      this.#settle.resolve()
    } else {
      this.#settle.reject(error)
    }
    this.#controller.abort()
  }

  /** Ends with that signal. */
  #follow(signal: AbortSignal | undefined): void {
    const close = () => this.close()
    if (signal?.aborted) {
      queueMicrotask(close)
    }
    signal?.addEventListener("abort", close)
    this.#controller.signal.addEventListener("abort", () => signal?.removeEventListener("abort", close))
  }

  async #push(callback: (event: Told) => unknown): Promise<void> {
    try {
      for await (const event of this.#events) {
        await callback(event)
      }
      this.#end(undefined)
    } catch (error) {
      this.#end(error)
    }
  }

  async *#pull(): AsyncGenerator<Told, void, undefined> {
    try {
      await this.opened
      for (;;) {
        yield (await this.#feed.next()) as Told
      }
    } catch (error) {
      this.#end(error)
      if (!(error instanceof ClosedError)) {
        throw error
      }
    }
  }
}

/** Refuses an option that another call has. */
export function refuseOptions(options: object, name: string): void {
  if (name in options) {
    throw refuse("INVALID_REQUEST", `${name} is not an option of this call`)
  }
}
