import { refuse } from "./errors.js"
import type { AgentEvent } from "./event.js"
import { encode, joinMembers } from "./json.js"
import type { AgentEntry, AgentPage } from "./model.js"
import * as model from "./model.js"
import { agentKeyPath, agentPath, checkSubject } from "./names.js"
import {
  type ConditionOptions,
  type IdempotencyOptions,
  type ListOptions,
  listQuery,
  type PrefixOptions,
  type ReadOptions,
  readParts,
  type SubscribeOptions,
  type TtlOptions,
  ttlAndOptions,
  ttlText,
  writeParts,
} from "./options.js"
import { pageLimit, pages } from "./pages.js"
import { absent, fitsHeader, type Request } from "./request.js"
import { call } from "./retry.js"
import { refuseOptions, type Subscribe, type Subscription } from "./subscribe.js"
import type { Transport } from "./transport.js"

export interface AgentDeleteOptions extends IdempotencyOptions, ConditionOptions {}

export interface AgentSetOptions extends AgentDeleteOptions, TtlOptions {
  /** Which session writes. It is kept with the key, whose name it is no part of. */
  session?: string
}

export interface AgentListOptions extends ListOptions {
  /** Only keys that were written last in this session. "": those written without one. */
  session?: string
}

/** Agent State: versioned JSON values under (subject, key), where a subject is a user or an agent. */
export class Agent {
  readonly #transport: Transport
  readonly #subscribe: Subscribe

  /** @internal */
  constructor(transport: Transport, subscribe: Subscribe) {
    this.#transport = transport
    this.#subscribe = subscribe
  }

  /** Reads a key. An absent one is a NotFoundError. */
  async get<Value = any>(subject: string, key: string, options: ReadOptions = {}): Promise<AgentEntry<Value>> {
    return call(this.#transport, this.#read(subject, agentKeyPath(key), options), model.agentEntryAnswer)
  }

  /** Stores a value, with a TTL in seconds if there is to be one; replaces both, and the session. */
  async set(
    subject: string,
    key: string,
    value: unknown,
    ttl?: number | AgentSetOptions,
    options?: AgentSetOptions,
  ): Promise<{ version: number }> {
    const all: AgentSetOptions = ttlAndOptions(ttl, options)
    const body = joinMembers([
      ["value", encode(value)],
      ["ttl_seconds", ttlText(all.ttl)],
    ])
    return call(this.#transport, { ...write("PUT", subject, key, all), body }, model.versionAnswer)
  }

  /** Removes a key. That there is none is no error. */
  async delete(subject: string, key: string, options: AgentDeleteOptions = {}): Promise<void> {
    return call(this.#transport, write("DELETE", subject, key, options), () => undefined)
  }

  /** Reads one page of a subject's keys with their values, of 1,000 unless `limit` is given. */
  async list<Value = any>(subject: string, options: AgentListOptions = {}): Promise<AgentPage<Value>> {
    const request = this.#read(subject, agentPath, options)
    const query = { ...listQuery(options), session_id: options.session, ...request.query }
    return call(this.#transport, { ...request, query }, model.agentPageAnswer)
  }

  /** Reads a list to its end, each page when it is asked for, of 1,000 entries unless `limit` is given. */
  pages<Value = any>(
    subject: string,
    options: AgentListOptions = {},
  ): AsyncGenerator<AgentPage<Value>, void, undefined> {
    const limit = options.limit || pageLimit
    return pages(options.after, (after) => this.list(subject, { ...options, limit, ...(after ? { after } : {}) }))
  }

  /** Tells the changes of a key, as `state.subscribe` does. */
  subscribe<Value = any>(
    subject: string,
    key: string,
    callback?: (event: AgentEvent<Value>) => unknown,
    options: SubscribeOptions = {},
  ): Subscription<AgentEvent<Value>> {
    refuseOptions(options, "prefix")
    return this.#subscribe({ path: agentKeyPath(key), subject: checkSubject(subject) }, callback, options)
  }

  /** Is `subscribe` for all keys of a subject. */
  subscribeSubject<Value = any>(
    subject: string,
    callback?: (event: AgentEvent<Value>) => unknown,
    options: SubscribeOptions & PrefixOptions = {},
  ): Subscription<AgentEvent<Value>> {
    return this.#subscribe({ path: agentPath, subject: checkSubject(subject) }, callback, options)
  }

  #read(subject: string, path: string, options: ReadOptions): Request {
    const headers = { "X-Subject-ID": checkSubject(subject) }
    return { kind: "read", method: "GET", path, headers, ...readParts(this.#transport, options) }
  }
}

function write(method: "PUT" | "DELETE", subject: string, key: string, options: AgentSetOptions): Request {
  refuseOptions(options, "returnCurrent")
  const { session } = options
  if (!absent(session) && !fitsHeader(session)) {
    throw refuse("INVALID_REQUEST", "the session has control characters, or white space at an end")
  }
  const parts = writeParts(options)
  const scope = { "X-Subject-ID": checkSubject(subject), "X-Session-ID": session || undefined }
  return { method, path: agentKeyPath(key), ...parts, headers: { ...scope, ...parts.headers } }
}
