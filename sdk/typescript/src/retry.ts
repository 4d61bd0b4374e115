import { errorOf, type Failure, refuse, type StateraftError } from "./errors.js"
import type { Kind, Request } from "./request.js"
import { now, sleep } from "./time.js"
import { Attempt, type Transport } from "./transport.js"

/** What an attempt that failed has proven. */
export type Proof =
  /** An answer for good: 4xx, 500, 507, or an unreadable one. */
  | "answered"
  /** No connection was made, so nothing was sent. */
  | "unreachable"
  /** 503: the node said that it did nothing. */
  | "unavailable"
  /** 429: likewise; its queues are full. */
  | "overloaded"
  /** Sent, then no answer, half of one, OUTCOME_UNKNOWN, or a proxy's 502, 503, 504. */
  | "lost"

/** The one place that decides what is sent again, and whether the next call goes to the next endpoint. */
export const retries: Readonly<Record<Proof, { again: readonly Kind[]; next: boolean }>> = {
  answered: { again: [], next: false },
  unreachable: { again: ["read", "write", "versioned", "keyed"], next: true },
  unavailable: { again: ["read", "write", "versioned", "keyed"], next: true },
  overloaded: { again: ["read", "write", "versioned", "keyed"], next: false },
  lost: { again: ["read", "versioned", "keyed"], next: true },
}

export function proofOf({ code, status, outcome }: Failure): Proof {
  if (code === "UNREACHABLE") {
    return "unreachable"
  }
  if (code === "NO_ANSWER") {
    return "lost"
  }
  if (outcome === "not_applied" && status === 429) {
    return "overloaded"
  }
  if (outcome === "not_applied" && status === 503) {
    return "unavailable"
  }
  return status === 502 || status === 503 || status === 504 ? "lost" : "answered"
}

const firstPauseMs = 50
const mostPauseMs = 2000

/** Makes a call: attempts until one is answered for good, decoded from the text of the answer. */
export async function call<Result>(
  transport: Transport,
  request: Request,
  decode: (body: string) => Result,
): Promise<Result> {
  const signal = request.signal ?? new AbortController().signal
  if (signal.aborted) {
    throw refuse("UNREACHABLE", "the call was aborted before it was sent", signal.reason)
  }
  const deadline = now() + transport.timeoutMs
  let uncertain = false // an earlier attempt may have had its effect
  for (let attempts = 1; ; attempts++) {
    try {
      return await transport.attempt(request, deadline, signal, decode)
    } catch (error) {
      if (!(error instanceof Attempt)) {
        throw error
      }
      const { failure, at } = error
      const proof = proofOf(failure)
      leaveBehind(transport, request, proof, at, failure)
      const last = attempts === transport.maxAttempts || !retries[proof].again.includes(request.kind)
      if (last || !(await pause(delay(transport, attempts, proof, failure), deadline, signal))) {
        throw settle(request.kind, { ...failure, attempts }, uncertain)
      }
      uncertain ||= failure.outcome === "unknown"
    }
  }
}

/** Draws the consequences for the calls to come. A caller that gave up has proven nothing against the endpoint. */
function leaveBehind(transport: Transport, request: Request, proof: Proof, at: number, failure: Failure): void {
  if (retries[proof].next && !request.signal?.aborted) {
    transport.endpoints.leave(at)
  }
  if (failure.code === "REVISION_UNKNOWN") {
    transport.revision.forget(request.minRevision)
  }
}

/**
 * Gives a failure the outcome of all attempts together. An earlier one that is uncertain stays so, unless this is the
 * answer kept under an idempotency key. A conflict proves nothing then: it may be with that very attempt.
 */
function settle(kind: Kind, failure: Failure, uncertain: boolean): StateraftError {
  const conflict = failure.code === "VERSION_CONFLICT"
  if (kind === "read" || kind === "probe") {
    return errorOf({ ...failure, outcome: "not_applied" })
  }
  if (!uncertain || (kind === "keyed" && conflict)) {
    return errorOf(failure)
  }
  if (conflict) {
    const message = `an attempt was lost, and the next one met another version: ${failure.message}`
    return errorOf({ ...failure, code: "OUTCOME_UNKNOWN", outcome: "unknown", message })
  }
  return errorOf({ ...failure, outcome: "unknown" })
}

/**
 * The pause after an attempt, in milliseconds. The first round of the endpoints is without one. A Retry-After is kept,
 * plus up to half of it by chance: those that were refused together do not come back together.
 */
function delay(transport: Transport, attempts: number, proof: Proof, failure: Failure): number {
  const round = attempts - (proof === "overloaded" ? 1 : transport.endpoints.count)
  const asked = (failure.retryAfter ?? 0) * 1000
  return round < 0 ? 0 : Math.max(backoff(round), asked + (Math.random() * asked) / 2)
}

function backoff(round: number): number {
  const pause = Math.min(firstPauseMs * 2 ** Math.min(round, 10), mostPauseMs)
  return pause - (Math.random() * pause) / 2
}

/** Waits. Reports false, and at once if the call would be over before. */
async function pause(ms: number, deadline: number, signal: AbortSignal): Promise<boolean> {
  if (deadline - now() <= ms) {
    return false
  }
  if (ms > 0) {
    await sleep(ms, signal)
  }
  return !signal.aborted
}
