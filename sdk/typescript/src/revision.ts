/** Remembers how much of the cluster's history a client has seen. */
export class Revision {
  #highest = 0

  /** 0: nothing yet. */
  get seen(): number {
    return this.#highest
  }

  /** Takes note of the revision that an answer is from. */
  observe(headers: Headers): void {
    const revision = headers.get("X-Stateraft-Revision") ?? ""
    if (/^\d+$/.test(revision)) {
      this.raise(Number(revision))
    }
  }

  raise(revision: number): void {
    this.#highest = Math.max(this.#highest, revision)
  }

  /** Drops a revision that the cluster does not know, because it was restored from before it. One seen since is kept. */
  forget(revision: number | undefined): void {
    if (revision === this.#highest) {
      this.#highest = 0
    }
  }
}
