import { refuse } from "./errors.js"

/** A ring of base URLs with the one in use. */
export class Endpoints {
  readonly #urls: readonly string[]
  #at = 0

  constructor(urls: readonly string[]) {
    this.#urls = urls.map(parse)
  }

  get count(): number {
    return this.#urls.length
  }

  /** The endpoint in use and its place in the ring. */
  current(): { url: string; at: number } {
    return { url: this.#urls[this.#at] ?? "", at: this.#at }
  }

  /** Moves on from the endpoint at that place. Of many calls that fail there together one moves; the others find it done. */
  leave(at: number): void {
    if (this.#at === at) {
      this.#at = (at + 1) % this.#urls.length
    }
  }
}

function parse(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw refuse("INVALID_REQUEST", `endpoint ${JSON.stringify(endpoint)}: want http://host:port or https://host:port`)
  }
  if (url.search || url.hash || url.username || url.password) {
    throw refuse("INVALID_REQUEST", `endpoint ${url.origin}: a query, a fragment or a user has no place in it`)
  }
  return url.href.replace(/\/+$/, "")
}
