/** Says whom to ask and how long to insist. */
export interface Config {
  /** Base URL of a node, or of what stands before the nodes. `http://127.0.0.1:7474` by default. */
  baseUrl?: string
  /** Base URLs of nodes of one cluster, in place of `baseUrl`. The first is asked first, the others when it fails. */
  endpoints?: readonly string[]
  apiKey?: string
  /** Bounds a call with all its attempts. 30,000 by default. */
  timeoutMs?: number
  /** Bounds one attempt. The node is told to give up a little earlier, so that it can still say what became of a write. 5,000 by default. */
  attemptTimeoutMs?: number
  /** Bounds how often one call is sent. 8 by default. */
  maxAttempts?: number
  /** Whether stale reads are never from before what this client has seen. True by default. */
  readYourWrites?: boolean
  /** Sends the requests in place of the platform's `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>
}

export const defaultEndpoint = "http://127.0.0.1:7474"
export const defaultTimeoutMs = 30_000
export const defaultAttemptTimeoutMs = 5_000
export const defaultMaxAttempts = 8
