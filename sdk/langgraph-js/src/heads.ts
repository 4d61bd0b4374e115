const mostRemembered = 10_000

/**
 * The versions of heads as writers have seen them. A writer goes on from a checkpoint that it has read or put, and has
 * seen the version of the head with it. Its next checkpoint is for that version: if another writer has put one
 * meanwhile, it is refused.
 */
export class Heads {
  readonly #seen = new Map<string, number>()

  /** Without an id it is that of an empty thread. */
  remember(thread: string, ns: string, id: string | undefined, version: number): void {
    this.#seen.set(placeOf(thread, ns, id), version)
    if (this.#seen.size > mostRemembered) {
      for (const oldest of this.#seen.keys()) {
        this.#seen.delete(oldest)
        break
      }
    }
  }

  forget(thread: string, ns: string, id: string | undefined): void {
    this.#seen.delete(placeOf(thread, ns, id))
  }

  /** The version seen with the first of the checkpoints that one was seen with. */
  seen(thread: string, ns: string, ...ids: (string | undefined)[]): number | undefined {
    return ids.map((id) => this.#seen.get(placeOf(thread, ns, id))).find((version) => version !== undefined)
  }
}

function placeOf(thread: string, ns: string, id: string | undefined): string {
  return JSON.stringify([thread, ns, id ?? null])
}
