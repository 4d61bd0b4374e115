import type { StateEvent } from "./event.js"
import { encode, joinMembers } from "./json.js"
import type { Entry, Op, OpResult, Page } from "./model.js"
import * as model from "./model.js"
import { keyPath, workflowPath } from "./names.js"
import {
  type ConditionOptions,
  type IdempotencyOptions,
  type ListOptions,
  listQuery,
  type PrefixOptions,
  type ReadOptions,
  type ReturnCurrentOptions,
  readParts,
  type SubscribeOptions,
  type TtlOptions,
  ttlAndOptions,
  ttlText,
  writeParts,
} from "./options.js"
import { pageLimit, pages } from "./pages.js"
import { call } from "./retry.js"
import { refuseOptions, type Subscribe, type Subscription } from "./subscribe.js"
import type { Transport } from "./transport.js"

export interface AtomicOptions extends IdempotencyOptions, ReturnCurrentOptions {}
export interface DeleteOptions extends IdempotencyOptions, ConditionOptions, ReturnCurrentOptions {}
export interface SetOptions extends DeleteOptions, TtlOptions {}
export interface SetWithVersionOptions extends IdempotencyOptions, ReturnCurrentOptions, TtlOptions {}

export interface StateListOptions extends ListOptions {
  /** Descending, in the order of the bytes. */
  reverse?: boolean
  /** Entries beside the keys. A page then has at most 10,000, 1,000 without `limit`. */
  values?: boolean
}

/** The State Store: versioned JSON values under (workflow, key). */
export class State {
  readonly #transport: Transport
  readonly #subscribe: Subscribe

  /** @internal */
  constructor(transport: Transport, subscribe: Subscribe) {
    this.#transport = transport
    this.#subscribe = subscribe
  }

  /** Reads a key. An absent one is a NotFoundError. */
  async get<Value = any>(workflow: string, key: string, options: ReadOptions = {}): Promise<Entry<Value>> {
    const parts = readParts(this.#transport, options)
    return call(
      this.#transport,
      { kind: "read", method: "GET", path: keyPath(workflow, key), ...parts },
      model.entryAnswer(key),
    )
  }

  /** Stores a value, with a TTL in seconds if there is to be one, and replaces both. Returns the key's new version. */
  async set(
    workflow: string,
    key: string,
    value: unknown,
    ttl?: number | SetOptions,
    options?: SetOptions,
  ): Promise<{ version: number }> {
    const all: SetOptions = ttlAndOptions(ttl, options)
    const path = keyPath(workflow, key)
    const body = setBody(value, all.ttl)
    return call(this.#transport, { method: "POST", path, body, ...writeParts(all) }, model.versionAnswer)
  }

  /** Stores a value only if the key is at the expected version; 0: if it is absent. Else it is a VersionConflictError. */
  async setWithVersion(
    workflow: string,
    key: string,
    value: unknown,
    expectedVersion: number,
    options: SetWithVersionOptions = {},
  ): Promise<{ version: number }> {
    const path = `${keyPath(workflow, key)}/version`
    const body = setBody(value, options.ttl, expectedVersion)
    const parts = writeParts(options, expectedVersion > 0)
    return call(this.#transport, { method: "POST", path, body, ...parts }, model.versionAnswer)
  }

  /** Removes a key and reports whether it was there. */
  async delete(workflow: string, key: string, options: DeleteOptions = {}): Promise<{ deleted: boolean }> {
    const path = keyPath(workflow, key)
    return call(this.#transport, { method: "DELETE", path, ...writeParts(options) }, model.deletedAnswer)
  }

  /** Reads one page of a workflow's keys: all of them, unless `limit` or `values` is given. */
  async list<Value = any>(workflow: string, options: StateListOptions = {}): Promise<Page<Value>> {
    const { query, ...parts } = readParts(this.#transport, options)
    const { reverse, values } = options
    return call(
      this.#transport,
      {
        kind: "read",
        method: "GET",
        path: workflowPath(workflow),
        query: { ...listQuery(options), reverse, values, ...query },
        ...parts,
      },
      model.pageAnswer,
    )
  }

  /** Reads a list to its end, each page when it is asked for, of 1,000 keys unless `limit` is given. */
  pages<Value = any>(workflow: string, options: StateListOptions = {}): AsyncGenerator<Page<Value>, void, undefined> {
    const limit = options.limit || pageLimit
    return pages(options.after, (after) => this.list(workflow, { ...options, limit, ...(after ? { after } : {}) }))
  }

  /**
   * Carries out up to 128 operations on different keys, all or none, and seen together. If a condition does not hold it
   * is a VersionConflictError, whose `op` is the index of the first such operation.
   */
  async atomic(workflow: string, ops: readonly Op[], options: AtomicOptions = {}): Promise<{ results: OpResult[] }> {
    const path = workflowPath(workflow)
    const body = joinMembers([["ops", `[${ops.map(opText).join(",")}]`]])
    const parts = writeParts(options, ops.some(endsVersion))
    return call(this.#transport, { method: "POST", path, body, ...parts }, model.resultsAnswer)
  }

  /**
   * Tells the changes of a key, which need not exist, to the callback, or to whoever iterates over what is returned.
   * Each is told once, whole and in the order of revisions, whichever nodes the subscription has to go to. With a
   * callback, handle `done` of what is returned.
   */
  subscribe<Value = any>(
    workflow: string,
    key: string,
    callback?: (event: StateEvent<Value>) => unknown,
    options: SubscribeOptions = {},
  ): Subscription<StateEvent<Value>> {
    refuseOptions(options, "prefix")
    return this.#subscribe({ path: `${keyPath(workflow, key)}/stream` }, callback, options)
  }

  /** Is `subscribe` for all keys of a workflow. */
  subscribeWorkflow<Value = any>(
    workflow: string,
    callback?: (event: StateEvent<Value>) => unknown,
    options: SubscribeOptions & PrefixOptions = {},
  ): Subscription<StateEvent<Value>> {
    return this.#subscribe({ path: workflowPath(workflow) }, callback, options)
  }
}

function setBody(value: unknown, ttl: number | undefined, expectedVersion?: number): string {
  return joinMembers([
    ["value", encode(value)],
    ["ttl", ttlText(ttl)],
    ["expectedVersion", versionText(expectedVersion)],
  ])
}

function opText(op: Op): string {
  return joinMembers([
    ["op", JSON.stringify(op.op)],
    ["key", JSON.stringify(op.key)],
    ["value", op.op === "set" ? encode(op.value) : undefined],
    ["ttl", op.op === "set" ? ttlText(op.ttl) : undefined],
    ["expectedVersion", versionText(op.expectedVersion)],
  ])
}

function versionText(version: number | undefined): string | undefined {
  return version === undefined ? undefined : JSON.stringify(version)
}

/** The operation can happen once at most: it is on condition of a version that it ends. */
function endsVersion(op: Op): boolean {
  return op.op !== "check" && (op.expectedVersion ?? 0) > 0
}
