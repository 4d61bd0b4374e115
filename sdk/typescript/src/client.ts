import { Agent } from "./agent.js"
import type { Config } from "./config.js"
import type { CallOptions } from "./options.js"
import { call } from "./retry.js"
import { State } from "./state.js"
import { type Subscribe, Subscription } from "./subscribe.js"
import { Transport } from "./transport.js"

/**
 * Talks to one cluster. It connects to nobody before it is asked to.
 *
 *     const client = new StateraftClient({ endpoints: ["http://n1:7474", "http://n2:7474"] })
 *     await client.state.set("wf-1", "status", { step: "researching" }, 3600)
 */
export class StateraftClient {
  readonly state: State
  readonly agent: Agent
  readonly #transport: Transport
  readonly #subscriptions = new Set<Subscription>()

  /** Throws if an endpoint is not a base URL. */
  constructor(config: Config = {}) {
    this.#transport = new Transport(config)
    this.state = new State(this.#transport, this.#subscribe)
    this.agent = new Agent(this.#transport, this.#subscribe)
  }

  /**
   * The highest revision of the cluster's state that this client has seen. 0: none yet. As `minRevision` of another
   * client's reads it carries read-your-writes over.
   */
  get revision(): number {
    return this.#transport.revision.seen
  }

  /** Resolves if the endpoint in use is alive. It asks once. */
  async health(options: CallOptions = {}): Promise<void> {
    return this.#probe("/health", options)
  }

  /** Resolves if the endpoint in use can serve: it knows a leader and has caught up. It asks once. */
  async ready(options: CallOptions = {}): Promise<void> {
    return this.#probe("/ready", options)
  }

  /** Closes the subscriptions that are open. The client may be used again afterwards. */
  close(): void {
    for (const subscription of this.#subscriptions) {
      subscription.close()
    }
  }

  #probe(path: string, { signal }: CallOptions): Promise<void> {
    return call(this.#transport, { kind: "probe", method: "GET", path, signal }, () => undefined)
  }

  readonly #subscribe: Subscribe = (topic, callback, options) => {
    const forget = () => this.#subscriptions.delete(subscription)
    const subscription: Subscription<any> = new Subscription(this.#transport, topic, callback, options, forget)
    this.#subscriptions.add(subscription)
    return subscription
  }
}
