export { Agent, type AgentDeleteOptions, type AgentListOptions, type AgentSetOptions } from "./agent.js"
export { StateraftClient } from "./client.js"
export type { Config } from "./config.js"
export {
  BadResponseError,
  ClosedError,
  DiskFullError,
  type ErrorDetails,
  ForbiddenError,
  IdempotencyMismatchError,
  InternalError,
  InvalidRequestError,
  NoAnswerError,
  NotFoundError,
  type Outcome,
  OutcomeUnknownError,
  OverloadedError,
  RefusedError,
  RevisionUnknownError,
  StateraftError,
  TooLargeError,
  UnauthorizedError,
  UnavailableError,
  UnreachableError,
  VersionConflictError,
} from "./errors.js"
export type { AgentEvent, Change, Event, Resync, Snapshot, StateEvent, Synced } from "./event.js"
export { type RawJson, rawJson } from "./json.js"
export type { AgentEntry, AgentPage, Entry, Op, OpResult, Page } from "./model.js"
export type {
  CallOptions,
  ConditionOptions,
  IdempotencyOptions,
  ListOptions,
  PrefixOptions,
  ReadOptions,
  ReturnCurrentOptions,
  SubscribeOptions,
  TtlOptions,
} from "./options.js"
export {
  type AtomicOptions,
  type DeleteOptions,
  type SetOptions,
  type SetWithVersionOptions,
  State,
  type StateListOptions,
} from "./state.js"
export { Subscription } from "./subscribe.js"
