import { refuse } from "./errors.js"
import { absent, fitsHeader, type Headers, type Kind, type Query, type Request } from "./request.js"
import type { Transport } from "./transport.js"

/** What every call takes. */
export interface CallOptions {
  /** Aborts the call. A write that was sent may have happened: the error's outcome says so. */
  signal?: AbortSignal
}

export interface ReadOptions extends CallOptions {
  /**
   * `linearizable`, the default, covers every write that was acknowledged before, wherever. `stale` has the node answer
   * from what it has, but never from before what this client has seen (`readYourWrites`).
   */
  consistency?: "linearizable" | "stale"
  /** Answer from that revision on: `client.revision` of another client carries read-your-writes over. */
  minRevision?: number
}

export interface IdempotencyOptions extends CallOptions {
  /**
   * For 10 minutes the same key and request get the first answer, and have no second effect, so the client asks again by
   * itself where it otherwise could not. 1 to 255 visible ASCII characters.
   */
  idempotencyKey?: string
}

/** At most one of them: the write happens only if it holds, and is a VersionConflictError else. */
export interface ConditionOptions {
  /** The key is at that version. 0: it is absent. */
  ifVersion?: number
  /** The key is there. */
  ifExists?: boolean
  /** The key is not there. */
  ifAbsent?: boolean
}

export interface ReturnCurrentOptions {
  /**
   * Has a conflict carry the key's present value, as `error.currentValue`. With an idempotency key it is left out once it
   * is not that of `error.currentVersion` any more.
   */
  returnCurrent?: boolean
}

export interface TtlOptions {
  /** Seconds until the key ends, in steps of 1 ms, rounded up. 0 or absent: never. */
  ttl?: number
}

export interface ListOptions extends ReadOptions {
  /** Only keys that begin so. */
  prefix?: string
  /** Begin behind this key, in the direction of the list. It need not exist. */
  after?: string
  /** Most keys of one page. */
  limit?: number
}

export interface SubscribeOptions {
  /** Begin with the keys that are there: a `snapshot` event for each, then `synced`. Excludes `fromRevision`. */
  snapshot?: boolean
  /** Begin behind that revision. Where the history does not reach back that far, the state itself comes, after `resync`. */
  fromRevision?: number
  /** Ends the subscription, as `close` does. */
  signal?: AbortSignal
}

export interface PrefixOptions {
  /** Only keys that begin so. */
  prefix?: string
}

/** Returns what a read's options add to its request. */
export function readParts(
  transport: Transport,
  { consistency, minRevision = 0, signal }: ReadOptions,
): { query: Query; minRevision: number; signal: AbortSignal | undefined } {
  if (consistency !== "stale") {
    return { query: {}, minRevision, signal }
  }
  const seen = transport.readYourWrites ? transport.revision.seen : 0
  return { query: { consistency }, minRevision: Math.max(minRevision, seen), signal }
}

export function listQuery({ prefix, after, limit }: ListOptions): Query {
  return { prefix: prefix || undefined, after: after || undefined, limit: limit || undefined }
}

/** Returns what a write's options add to its request. `versioned` says that its body holds a condition of one version. */
export function writeParts(
  options: IdempotencyOptions & ConditionOptions & ReturnCurrentOptions,
  versioned = false,
): Pick<Request, "kind" | "headers" | "query" | "signal"> {
  const { idempotencyKey, returnCurrent, signal } = options
  if (!absent(idempotencyKey) && (idempotencyKey === "" || !fitsHeader(idempotencyKey))) {
    throw refuse("INVALID_REQUEST", "the idempotency key is empty, or has control characters or white space at an end")
  }
  const headers = { ...conditionHeaders(options), "Idempotency-Key": idempotencyKey }
  return { kind: kindOf(options, versioned), headers, query: { returnCurrent }, signal }
}

function conditionHeaders({ ifVersion, ifExists, ifAbsent }: ConditionOptions): Headers {
  if (Number(!absent(ifVersion)) + Number(ifExists ?? false) + Number(ifAbsent ?? false) > 1) {
    throw refuse("INVALID_REQUEST", "ifVersion, ifExists and ifAbsent exclude each other")
  }
  if (ifAbsent || ifVersion === 0) {
    return { "If-None-Match": "*" }
  }
  return { "If-Match": ifExists ? "*" : absent(ifVersion) ? undefined : `"${ifVersion}"` }
}

function kindOf({ idempotencyKey, ifVersion }: IdempotencyOptions & ConditionOptions, versioned: boolean): Kind {
  if (!absent(idempotencyKey)) {
    return "keyed"
  }
  return versioned || ifVersion ? "versioned" : "write"
}

/** Returns the text of a TTL in seconds, rounded up, so that one never becomes 0, which would mean no end. */
export function ttlText(ttl: number | undefined): string | undefined {
  if (!ttl && !Number.isNaN(ttl)) {
    return undefined
  }
  const seconds = Number(ttl)
  if (!Number.isFinite(seconds)) {
    throw refuse("INVALID_TTL", "ttl is no number of seconds")
  }
  return JSON.stringify(seconds > 0 ? Math.ceil(Number((seconds * 1000).toPrecision(15))) / 1000 : seconds)
}

/** Takes the two forms of the TTL's argument: seconds, or all the options. */
export function ttlAndOptions<Options extends TtlOptions>(
  ttl: number | Options | null | undefined,
  options: Options | undefined,
): Options | TtlOptions {
  if (absent(ttl)) {
    return options ?? {}
  }
  return typeof ttl === "object" ? ttl : { ...options, ttl }
}
