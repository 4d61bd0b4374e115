import { parseObject } from "./json.js"

/** A change of a key. */
export interface Change<Value = any> {
  type: "set" | "delete" | "expire"
  key: string
  /** null where the key was absent. */
  oldValue: Value | null
  /** null also where the key is absent: `type` tells. */
  newValue: Value | null
  /** Of the key, with this change. */
  version: number
  /** Of the cluster; each change has its own. */
  revision: number
  /** The revisions of an atomic write, all of whose changes became visible together. */
  tx?: { first: number; last: number }
  /** The exact text of `oldValue`. */
  rawOldValue: string
  /** The exact text of `newValue`. */
  rawNewValue: string
}

/** A key that is there. */
export interface Snapshot<Value = any> extends Omit<Change<Value>, "type" | "revision" | "tx"> {
  type: "snapshot"
  revision?: undefined
  tx?: undefined
}

type Absent<Scope> = { [Name in Exclude<keyof Change | keyof Scope, "type" | "revision">]?: undefined }

/**
 * Voids all that was told: keys that the snapshot events behind it do not name are gone. A snapshot that was asked for
 * begins without one, and one that broke off begins again with one.
 */
export type Resync<Scope> = Absent<Scope> & { type: "resync"; revision?: undefined }

/** The snapshot is complete, as of `revision`. */
export type Synced<Scope> = Absent<Scope> & { type: "synced"; revision: number }

type Told<Scope, Value> = (Scope & Change<Value>) | (Scope & Snapshot<Value>) | Resync<Scope> | Synced<Scope>

/** What a subscription to the State Store tells. */
export type StateEvent<Value = any> = Told<{ workflow: string }, Value>

/** What a subscription to Agent State tells. */
export type AgentEvent<Value = any> = Told<{ subject: string }, Value>

/** Whatever a subscription tells. */
export type Event = StateEvent | AgentEvent

const members = ["key", "oldValue", "newValue", "version", "revision", "tx"]

/** Reads a change, or a key of a snapshot. Throws if the text is neither. */
export function parseEvent(text: string): Event {
  const told = parseObject(text)
  const { type, workflowId, subject_id } = told.members
  if (typeof type !== "string" || type === "") {
    throw new SyntaxError("an event without a type")
  }
  const event: Record<string, unknown> = { type }
  const scope = workflowId === undefined ? { subject: subject_id } : { workflow: workflowId }
  Object.assign(event, scope)
  for (const name of members) {
    if (told.members[name] !== undefined) {
      event[name] = told.members[name]
    }
  }
  event["rawOldValue"] = told.raw("oldValue")
  event["rawNewValue"] = told.raw("newValue")
  return event as unknown as Event
}
