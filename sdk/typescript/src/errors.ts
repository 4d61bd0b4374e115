/** What became of a write that failed: it had and will have no effect, or it may have had one, or may yet. */
export type Outcome = "not_applied" | "unknown"

/** What an error tells, beside its message. A member that does not apply is absent. */
export interface ErrorDetails {
  /** Act on this. */
  code: string
  /** Of all attempts together. A read's is always `not_applied`. */
  outcome: Outcome
  /** Of the last answer. */
  status?: number
  /** Asked last. */
  endpoint?: string
  /** How often the call was sent. */
  attempts?: number
  /** With VERSION_CONFLICT. 0 stands for an absent key. */
  expectedVersion?: number
  /** With VERSION_CONFLICT. 0 stands for an absent key. */
  currentVersion?: number
  /** With VERSION_CONFLICT, if `returnCurrent` was given. */
  currentValue?: any
  /** The exact text of `currentValue`. */
  rawCurrentValue?: string
  /** Index of the first operation of an atomic write that did not hold. */
  op?: number
  /** Seconds that the node asks to be left alone. */
  retryAfter?: number
  /** With OVERLOADED, if a limit of the node is why. */
  current?: number
  limit?: number
}

/** A failure on its way to become an error. */
export interface Failure extends ErrorDetails {
  message: string
  cause?: unknown
}

export interface StateraftError extends Readonly<ErrorDetails> {}

/** Every error of a call, a page or a subscription is one. The message is for people and may change. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the members are assigned from the failure
export class StateraftError extends Error {
  override readonly name: string = "StateraftError"

  constructor({ message, cause, ...details }: Failure) {
    super(describe(message, details), cause === undefined ? undefined : { cause })
    Object.assign(this, details)
  }
}

function describe(message: string, { code, endpoint, status, outcome }: ErrorDetails): string {
  const where = endpoint !== undefined && status === undefined ? ` (${endpoint})` : ""
  return `${code}: ${message}${where}${outcome === "unknown" ? "; the outcome of the write is unknown" : ""}`
}

/** The request breaks a rule; the message names it. */
export class InvalidRequestError extends StateraftError {
  override readonly name = "InvalidRequestError"
}

/** There is no API key, or it is unknown, revoked or has run out. */
export class UnauthorizedError extends StateraftError {
  override readonly name = "UnauthorizedError"
}

/** The API key lacks the scope, or is for other prefixes. */
export class ForbiddenError extends StateraftError {
  override readonly name = "ForbiddenError"
}

/** The key does not exist, was deleted or has expired. */
export class NotFoundError extends StateraftError {
  override readonly name = "NotFoundError"
}

/** The key is not at the version that the write is for. */
export class VersionConflictError extends StateraftError {
  override readonly name = "VersionConflictError"
}

/** An administrative request would do harm. */
export class RefusedError extends StateraftError {
  override readonly name = "RefusedError"
}

/** The cluster was restored from before the revision that was asked for. The client has forgotten it. */
export class RevisionUnknownError extends StateraftError {
  override readonly name = "RevisionUnknownError"
}

/** A value or body is over its limit. */
export class TooLargeError extends StateraftError {
  override readonly name = "TooLargeError"
}

/** The idempotency key came with another request. */
export class IdempotencyMismatchError extends StateraftError {
  override readonly name = "IdempotencyMismatchError"
}

/** The node has no room for the request. */
export class OverloadedError extends StateraftError {
  override readonly name = "OverloadedError"
}

/** A bug of the node, whose log has more. */
export class InternalError extends StateraftError {
  override readonly name = "InternalError"
}

/** The node could not serve in time. */
export class UnavailableError extends StateraftError {
  override readonly name = "UnavailableError"
}

/** The write may have happened, or may yet. */
export class OutcomeUnknownError extends StateraftError {
  override readonly name = "OutcomeUnknownError"
}

/** A disk is nearly full. Deletes still work. */
export class DiskFullError extends StateraftError {
  override readonly name = "DiskFullError"
}

/** No connection was made: nothing was sent. */
export class UnreachableError extends StateraftError {
  override readonly name = "UnreachableError"
}

/** The request was sent, and the connection broke or time ran out. */
export class NoAnswerError extends StateraftError {
  override readonly name = "NoAnswerError"
}

/** The answer is not of the contract. */
export class BadResponseError extends StateraftError {
  override readonly name = "BadResponseError"
}

/** The subscription was ended by its own side. */
export class ClosedError extends StateraftError {
  override readonly name = "ClosedError"
}

/** The class of each code. Another code is a StateraftError itself. */
export const errorClasses: Readonly<Record<string, typeof StateraftError>> = {
  INVALID_REQUEST: InvalidRequestError,
  INVALID_KEY: InvalidRequestError,
  INVALID_TTL: InvalidRequestError,
  VALUE_REQUIRED: InvalidRequestError,
  UNAUTHORIZED: UnauthorizedError,
  FORBIDDEN: ForbiddenError,
  NOT_FOUND: NotFoundError,
  METHOD_NOT_ALLOWED: InvalidRequestError,
  VERSION_CONFLICT: VersionConflictError,
  REFUSED: RefusedError,
  REVISION_UNKNOWN: RevisionUnknownError,
  TOO_LARGE: TooLargeError,
  IDEMPOTENCY_MISMATCH: IdempotencyMismatchError,
  OVERLOADED: OverloadedError,
  INTERNAL: InternalError,
  NO_LEADER: UnavailableError,
  BEHIND: UnavailableError,
  NOT_READY: UnavailableError,
  OUTCOME_UNKNOWN: OutcomeUnknownError,
  DISK_FULL: DiskFullError,
  UNREACHABLE: UnreachableError,
  NO_ANSWER: NoAnswerError,
  BAD_RESPONSE: BadResponseError,
  CLOSED: ClosedError,
}

export function errorOf(failure: Failure): StateraftError {
  const Class = Object.hasOwn(errorClasses, failure.code) ? errorClasses[failure.code] : undefined
  return new (Class ?? StateraftError)(failure)
}

/** An error found before anything was sent. */
export function refuse(code: string, message: string, cause?: unknown): StateraftError {
  return errorOf({ code, message, outcome: "not_applied", ...(cause === undefined ? {} : { cause }) })
}
