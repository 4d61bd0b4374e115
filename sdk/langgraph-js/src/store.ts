import { randomUUID } from "node:crypto"
import { type Entry, NotFoundError, type Op, type OpResult, type StateraftClient } from "stateraft"
import { batches, joinPieces, pieceKeys } from "./documents.js"

/** How many keys are asked for at once. */
const mostReads = 32

/** The threads of savers with one prefix. */
export class Store {
  readonly #client: StateraftClient
  readonly #prefix: string

  constructor(client: StateraftClient, prefix: string) {
    if (prefix.includes(":")) {
      // a:b and its thread c would be the same workflow as a and its thread b:c
      throw new Error(`a prefix has no colon, unlike ${JSON.stringify(prefix)}`)
    }
    this.#client = client
    this.#prefix = prefix
  }

  async threads(): Promise<string[]> {
    return (await this.#client.state.list(this.#index)).keys
  }

  async register(thread: string): Promise<void> {
    await this.#client.state.set(this.#index, thread, true, { idempotencyKey: randomUUID() })
  }

  /** Registers a thread that has a head now, if a deletion before that took it out again. */
  async keepRegistered(thread: string): Promise<void> {
    if (!(await this.#read(this.#index, thread))) {
      await this.register(thread)
    }
  }

  async unregister(thread: string): Promise<void> {
    await this.#client.state.delete(this.#index, thread, { idempotencyKey: randomUUID() })
  }

  get(thread: string, key: string): Promise<Entry | undefined> {
    return this.#read(this.#workflow(thread), key)
  }

  async #read(workflow: string, key: string): Promise<Entry | undefined> {
    try {
      return await this.#client.state.get(workflow, key)
    } catch (error) {
      if (error instanceof NotFoundError) {
        return undefined
      }
      throw error
    }
  }

  async keys(thread: string, prefix: string): Promise<string[]> {
    return (await this.#client.state.list(this.#workflow(thread), { prefix })).keys
  }

  async entries(thread: string, prefix: string): Promise<Entry[]> {
    const all: Entry[] = []
    for await (const page of this.#client.state.pages(this.#workflow(thread), { prefix, values: true })) {
      all.push(...(page.entries ?? []))
    }
    return all
  }

  /** Carries out the operations together. */
  async atomic(thread: string, ops: readonly Op[]): Promise<OpResult[]> {
    const { results } = await this.#client.state.atomic(this.#workflow(thread), ops, { idempotencyKey: randomUUID() })
    return results
  }

  /** Carries out operations that need not happen together. */
  async write(thread: string, ops: readonly Op[]): Promise<void> {
    for (const batch of batches(ops)) {
      await this.atomic(thread, batch)
    }
  }

  /** Reads documents. Undefined: there is none under that key. */
  async documents(thread: string, keys: readonly string[]): Promise<any[]> {
    const entries = await this.#gets(thread, keys)
    return this.whole(
      thread,
      entries.map((entry) => entry?.value),
    )
  }

  /** Puts stored documents together that are in pieces. */
  async whole(thread: string, stored: readonly any[]): Promise<any[]> {
    const documents: any[] = []
    for (const document of stored) {
      const keys = pieceKeys(document)
      documents.push(keys.length > 0 ? joinPieces(await this.#gets(thread, keys)) : document)
    }
    return documents
  }

  async #gets(thread: string, keys: readonly string[]): Promise<(Entry | undefined)[]> {
    const entries: (Entry | undefined)[] = []
    for (let i = 0; i < keys.length; i += mostReads) {
      entries.push(...(await Promise.all(keys.slice(i, i + mostReads).map((key) => this.get(thread, key)))))
    }
    return entries
  }

  get #index(): string {
    return `${this.#prefix}-threads`
  }

  #workflow(thread: string): string {
    return `${this.#prefix}:${thread}`
  }
}
