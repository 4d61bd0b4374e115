import { isDeepStrictEqual } from "node:util"
import type { RunnableConfig } from "@langchain/core/runnables"
import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  compareWritesSortKeys,
  getCheckpointId,
  maxChannelVersion,
  type PendingWrite,
  type SerializerProtocol,
  TASKS,
  WRITES_IDX_MAP,
  writesSortKey,
} from "@langchain/langgraph-checkpoint"
import { type Op, type StateraftClient, VersionConflictError } from "stateraft"
import { batches, mostLength, mostOps, opLength, putDocument, RemovedError, type SetOp } from "./documents.js"
import { Heads } from "./heads.js"
import * as layout from "./layout.js"
import { Store } from "./store.js"

/** How often a deletion begins, if a checkpoint is put each time, and a read, if something is removed each time. */
const mostTries = 10

/** A serialized value: its type, and its bytes in base64. */
type Typed = [type: string, base64: string]

/** A checkpoint as it is stored. */
interface CheckpointRecord {
  id: string
  ns: string
  parent: string | null
  checkpoint: Typed
  metadata: Typed
}

/** A pending write as it is stored. */
interface WriteRecord {
  task: string
  path: string
  channel: string
  index: number
  value: Typed
}

export interface SaverOptions {
  /**
   * Begins the names of its workflows, and has no colon: savers with different prefixes share nothing. "langgraph" by
   * default.
   */
  prefix?: string
  serde?: SerializerProtocol
}

/**
 * A LangGraph checkpointer on Stateraft.
 *
 *     const graph = builder.compile({ checkpointer: new StateraftSaver(client) })
 *
 * Of two processes that go on from one checkpoint of a thread, one wins: the other's next checkpoint is refused with a
 * VersionConflictError. A fork that is meant, from an older checkpoint that was read by its id, is none. A thread's id
 * has at most 240 bytes; a state of any size may be put. The client stays the caller's to close.
 */
export class StateraftSaver extends BaseCheckpointSaver {
  readonly #store: Store
  readonly #heads = new Heads()
  readonly #onlooker: () => StateraftSaver

  constructor(client: StateraftClient, { prefix = "langgraph", serde }: SaverOptions = {}) {
    super(serde)
    this.#store = new Store(client, prefix)
    this.#onlooker = () => new StateraftSaver(client, { prefix, serde: this.serde })
  }

  /**
   * Returns a version that another writer does not give to another value: a fraction by chance tells forks apart, whose
   * values lie under the channel's version.
   */
  override getNextVersion(current: number | undefined): number {
    return Math.floor(current ?? 0) + 1 + Math.random()
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    return threadOf(config) === undefined ? undefined : again(() => this.#getTuple(config))
  }

  async #getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const [thread, ns, wanted] = [requireThread(config), namespaceOf(config), getCheckpointId(config)]
    const head = await this.#store.get(thread, layout.headKey(ns))
    const id: string | undefined = wanted || head?.value.id || undefined
    this.#heads.remember(thread, ns, id, head?.version ?? 0)
    if (id === undefined) {
      return undefined
    }
    this.#heads.forget(thread, ns, undefined) // the thread is not empty any more
    const [record] = await this.#store.documents(thread, [layout.checkpointKey(ns, id)])
    if (!record && !wanted) {
      throw new RemovedError(`the checkpoint of the head is missing: ${id}`)
    }
    return record && this.#tuple(thread, record)
  }

  /** Another saver reads the ancestors, so that nobody goes on from them. */
  override getDeltaChannelHistory(
    options: Parameters<BaseCheckpointSaver["getDeltaChannelHistory"]>[0],
  ): ReturnType<BaseCheckpointSaver["getDeltaChannelHistory"]> {
    return super.getDeltaChannelHistory.call(this.#onlooker(), options)
  }

  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    yield* options.before && options.limit === 1 && namesSubgraph(config)
      ? this.#replay(config, options)
      : this.#list(config, options)
  }

  /**
   * Lists the latest checkpoint before another one, and remembers the head with it: so LangGraph reads a subgraph's state
   * when it goes back in time, to go on from there.
   */
  async *#replay(config: RunnableConfig, options: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    const [thread, ns] = [requireThread(config), namespaceOf(config)]
    const version = (await this.#store.get(thread, layout.headKey(ns)))?.version ?? 0
    for await (const tuple of this.#list(config, options)) {
      this.#heads.remember(thread, ns, tuple.checkpoint.id, version)
      yield tuple
      return
    }
    this.#heads.remember(thread, ns, undefined, version)
  }

  async *#list(config: RunnableConfig, options: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    let left = options.limit ?? Number.POSITIVE_INFINITY
    for (const { thread, key } of await this.#find(config, options.before)) {
      if (left <= 0) {
        return
      }
      const tuple = await again(() => this.#match(thread, key, options.filter))
      if (tuple) {
        yield tuple
        left--
      }
    }
  }

  /** Reads a checkpoint, if its metadata has all members of the filter. */
  async #match(
    thread: string,
    key: string,
    filter: Record<string, unknown> | undefined,
  ): Promise<CheckpointTuple | undefined> {
    const [record] = await this.#store.documents(thread, [key])
    return record && (await this.#matches(record, filter)) ? this.#tuple(thread, record) : undefined
  }

  /**
   * Puts a checkpoint: long values first; the head, the checkpoint and the changed channels last, and together. Before
   * the long values of a first checkpoint comes a head without one, so that no deletion takes them from the checkpoint:
   * if that has removed the head, the checkpoint is refused; if the head has moved, the deletion begins anew.
   */
  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    const thread = requireThread(config)
    const ns = namespaceOf(config)
    const parent = getCheckpointId(config) || undefined
    const { channel_values: values, ...bare } = checkpoint
    const record = { id: checkpoint.id, ns, parent: parent ?? null, ...(await this.#dumpBoth(bare, metadata)) }
    const documents = [putDocument(layout.checkpointKey(ns, checkpoint.id), record)]
    for (const [channel, version] of Object.entries(newVersions)) {
      if (Object.hasOwn(values, channel)) {
        documents.push(putDocument(layout.blobKey(ns, channel, version), await this.#dump(values[channel])))
      }
    }
    const { early, last } = divide(documents)
    const fork = metadata.source === "fork"
    let head = await this.#expected(thread, ns, parent, checkpoint.id, fork)
    const begins = head === 0
    if (begins) {
      await this.#store.register(thread)
      head = early.length > 0 ? await this.#moveHead(config, 0, null) : 0
    }
    await this.#store.write(thread, early)
    head = await this.#moveHead(config, head, checkpoint.id, last)
    this.#heads.remember(thread, ns, checkpoint.id, head)
    if (begins) {
      await this.#store.keepRegistered(thread)
    }
    return place(thread, ns, checkpoint.id)
  }

  /** Moves the head from a version to a checkpoint, and puts documents with it. Returns its new version. */
  async #moveHead(
    config: RunnableConfig,
    expectedVersion: number,
    id: string | null,
    documents: readonly SetOp[] = [],
  ): Promise<number> {
    const [thread, ns, parent] = [requireThread(config), namespaceOf(config), getCheckpointId(config) || undefined]
    const head: SetOp = { op: "set", key: layout.headKey(ns), value: { id }, expectedVersion }
    const [moved] = await this.#store.atomic(thread, [head, ...documents]).catch(explain(thread, ns, parent))
    return moved?.version ?? 0
  }

  /** Puts pending writes: ordinary ones if they are absent, special ones over what is there. */
  override async putWrites(
    config: RunnableConfig,
    writes: PendingWrite[],
    taskId: string,
    taskPath = "",
  ): Promise<void> {
    const thread = requireThread(config)
    const id = getCheckpointId(config)
    if (!id) {
      throw new Error("the config has no configurable checkpoint_id")
    }
    const prefix = layout.taskPrefix(namespaceOf(config), id, taskId)
    const early: SetOp[] = []
    const mains: SetOp[] = []
    for (const [index, [channel, value]] of indexed(writes)) {
      const record: WriteRecord = { task: taskId, path: taskPath, channel, index, value: await this.#dump(value) }
      const { main, pieces } = putDocument(`${prefix}${index}`, record)
      mains.push(index >= 0 ? { ...main, expectedVersion: 0 } : main)
      early.push(...pieces)
    }
    await this.#store.write(thread, early)
    for (const batch of batches(mains)) {
      await this.#putAbsent(thread, prefix, batch)
    }
  }

  /**
   * Removes a thread, its heads first: all at once, if it has up to 127 checkpoints and namespaces. It begins anew if a
   * checkpoint is put meanwhile, and throws a VersionConflictError after ten times. If it fails it may be called again;
   * until then the thread may be missing among all threads.
   */
  override async deleteThread(thread: string): Promise<void> {
    // Once the heads are gone the thread may begin anew: nothing is unregistered or looked up to be deleted after that.
    await this.#store.unregister(thread)
    await again(async () => this.#store.write(thread, await this.#deletes(thread)))
  }

  /** Returns what deletes a thread, if no head moves until then. */
  async #deletes(thread: string): Promise<Op[]> {
    const heads = await this.#store.entries(thread, layout.headsPrefix)
    const known = new Set(heads.map(({ key }) => key))
    const place = (key: string) => layout.deletedInOrder.indexOf(key.slice(0, 2))
    const rest = (await this.#store.keys(thread, "")).filter((key) => place(key) >= 0 && !known.has(key))
    rest.sort((a, b) => place(a) - place(b))
    // A head that has come since the others were read must not lose its checkpoint.
    return [
      ...heads.map(({ key, version }): Op => ({ op: "delete", key, expectedVersion: version })),
      ...rest.map(
        (key): Op =>
          key.startsWith(layout.headsPrefix) ? { op: "check", key, expectedVersion: 0 } : { op: "delete", key },
      ),
    ]
  }

  /** Reads what belongs to a checkpoint. Rejects with a RemovedError if it is removed meanwhile. */
  async #tuple(thread: string, record: CheckpointRecord): Promise<CheckpointTuple> {
    const { id, ns, parent } = record
    const checkpoint: Checkpoint = { ...(await this.#load(record.checkpoint)), channel_values: {} }
    const channels = Object.entries(checkpoint.channel_versions)
    const blobs = await this.#store.documents(
      thread,
      channels.map(([channel, version]) => layout.blobKey(ns, channel, version)),
    )
    // A channel may have a version and no value. But values also go with their checkpoint, after it.
    if (blobs.includes(undefined) && !(await this.#store.get(thread, layout.checkpointKey(ns, id)))) {
      throw new RemovedError(`the checkpoint is removed: ${id}`)
    }
    for (const [i, [channel]] of channels.entries()) {
      if (blobs[i] !== undefined) {
        checkpoint.channel_values[channel] = await this.#load(blobs[i])
      }
    }
    if (checkpoint.v < 4 && parent !== null) {
      await this.#takeSends(thread, ns, parent, checkpoint)
    }
    return {
      config: place(thread, ns, id),
      checkpoint,
      metadata: await this.#load(record.metadata),
      pendingWrites: await this.#writes(thread, ns, id),
      ...(parent === null ? {} : { parentConfig: place(thread, ns, parent) }),
    }
  }

  /** Takes what the parent has sent into the values: checkpoints before format 4 left it there. */
  async #takeSends(thread: string, ns: string, parent: string, checkpoint: Checkpoint): Promise<void> {
    const writes = await this.#writes(thread, ns, parent)
    checkpoint.channel_values[TASKS] = writes.filter(([, channel]) => channel === TASKS).map(([, , value]) => value)
    const versions = Object.values(checkpoint.channel_versions)
    checkpoint.channel_versions[TASKS] =
      versions.length > 0 ? maxChannelVersion(...versions) : this.getNextVersion(undefined)
  }

  async #writes(thread: string, ns: string, id: string): Promise<CheckpointPendingWrite[]> {
    const entries = await this.#store.entries(thread, layout.writesPrefix(ns, id))
    const stored: WriteRecord[] = await this.#store.whole(
      thread,
      entries.map(({ value }) => value),
    )
    const keyed = stored.map((write) => ({ write, key: writesSortKey(write.path, write.task, write.index) }))
    keyed.sort((a, b) => compareWritesSortKeys(a.key, b.key))
    return Promise.all(
      keyed.map(
        async ({ write }): Promise<CheckpointPendingWrite> => [
          write.task,
          write.channel,
          await this.#load(write.value),
        ],
      ),
    )
  }

  /** Returns thread and key of the checkpoints in question, the newest first. */
  async #find(config: RunnableConfig, before: RunnableConfig | undefined): Promise<{ thread: string; key: string }[]> {
    const thread = threadOf(config)
    const ns: string | undefined = config.configurable?.["checkpoint_ns"]
    const wanted = getCheckpointId(config)
    const end = before && getCheckpointId(before)
    const prefix = ns === undefined ? layout.checkpointsPrefix : layout.checkpointKey(ns, "")
    const found: { thread: string; key: string; id: string }[] = []
    for (const one of thread === undefined ? await this.#store.threads() : [thread]) {
      for (const key of await this.#store.keys(one, prefix)) {
        const id = layout.checkpointIdOf(key)
        if ((!wanted || id === wanted) && (!end || id < end)) {
          found.push({ thread: one, key, id })
        }
      }
    }
    return found.sort((a, b) => (a.id < b.id ? 1 : -1))
  }

  async #matches(record: CheckpointRecord, filter: Record<string, unknown> | undefined): Promise<boolean> {
    const wanted = Object.entries(filter ?? {})
    const metadata = wanted.length > 0 ? await this.#load(record.metadata) : {}
    return wanted.every(([name, value]) => isDeepStrictEqual(metadata[name], value))
  }

  /**
   * Returns the version of the head that a checkpoint is for. A writer that has seen none may go on from the head alone,
   * or begin anew. A fork that LangGraph calls one is meant: a copy's parent is that of what it copies, which nobody has
   * read.
   */
  async #expected(thread: string, ns: string, parent: string | undefined, id: string, fork: boolean): Promise<number> {
    const seen = fork ? undefined : this.#heads.seen(thread, ns, id, parent)
    if (seen !== undefined) {
      return seen
    }
    const head = await this.#store.get(thread, layout.headKey(ns))
    if (head && !fork && parent !== undefined && parent !== head.value.id) {
      throw superseded(thread, ns, parent)
    }
    return head?.version ?? 0
  }

  /** Carries out operations, but those for absent keys that are there. */
  async #putAbsent(thread: string, prefix: string, ops: readonly Op[]): Promise<void> {
    for (let left = ops; left.length > 0; ) {
      try {
        await this.#store.atomic(thread, left)
        return
      } catch (error) {
        if (!(error instanceof VersionConflictError)) {
          throw error
        }
        const there = new Set(await this.#store.keys(thread, prefix))
        left = left.filter(({ key, expectedVersion }) => expectedVersion === undefined || !there.has(key))
      }
    }
  }

  async #dumpBoth(checkpoint: unknown, metadata: unknown): Promise<{ checkpoint: Typed; metadata: Typed }> {
    return { checkpoint: await this.#dump(checkpoint), metadata: await this.#dump(metadata) }
  }

  async #dump(value: unknown): Promise<Typed> {
    const [type, bytes] = await this.serde.dumpsTyped(value)
    return [type, Buffer.from(bytes).toString("base64")]
  }

  #load([type, base64]: Typed): Promise<any> {
    return this.serde.loadsTyped(type, Buffer.from(base64, "base64"))
  }
}

/** Carries something out, anew if a checkpoint was put or removed while it read. */
async function again<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof VersionConflictError || error instanceof RemovedError) || tries === mostTries) {
        throw error
      }
    }
  }
}

/** Divides documents into what must be there early, and what fits the last write beside the head. */
function divide(documents: { main: SetOp; pieces: SetOp[] }[]): { early: SetOp[]; last: SetOp[] } {
  const early = documents.flatMap(({ pieces }) => pieces)
  const last = documents.map(({ main }) => main)
  const length = () => last.reduce((sum, op) => sum + opLength(op), 0)
  while (last.length > 1 && (last.length >= mostOps || length() > mostLength)) {
    early.push(last.pop() as SetOp)
  }
  return { early, last }
}

/** Writes by the index that they are stored under: of special ones that share one, as repeated resumes do, the last. */
function indexed(writes: readonly PendingWrite[]): Map<number, PendingWrite> {
  return new Map(writes.map((write, place) => [WRITES_IDX_MAP[write[0]] ?? place, write]))
}

function threadOf(config: RunnableConfig): string | undefined {
  const thread: unknown = config.configurable?.["thread_id"]
  return thread === undefined || thread === null || thread === "" ? undefined : String(thread)
}

/** Reports whether a config names a thread and a subgraph's namespace. */
function namesSubgraph(config: RunnableConfig): boolean {
  return threadOf(config) !== undefined && Boolean(config.configurable?.["checkpoint_ns"])
}

function requireThread(config: RunnableConfig): string {
  const thread = threadOf(config)
  if (thread === undefined) {
    throw new Error("the config has no configurable thread_id")
  }
  return thread
}

function namespaceOf(config: RunnableConfig): string {
  return config.configurable?.["checkpoint_ns"] ?? ""
}

function place(thread: string, ns: string, id: string): RunnableConfig {
  return { configurable: { thread_id: thread, checkpoint_ns: ns, checkpoint_id: id } }
}

function explain(thread: string, ns: string, parent: string | undefined): (error: unknown) => never {
  return (error) => {
    throw error instanceof VersionConflictError ? superseded(thread, ns, parent, error) : error
  }
}

function superseded(thread: string, ns: string, parent: string | undefined, cause?: VersionConflictError): Error {
  const where = `thread ${JSON.stringify(thread)}${ns ? `, namespace ${JSON.stringify(ns)},` : ""}`
  const { expectedVersion, currentVersion } = cause ?? {}
  return new VersionConflictError({
    code: "VERSION_CONFLICT",
    outcome: "not_applied",
    message: `${where} has a newer checkpoint of another writer than ${parent}: read it and go on from there`,
    ...(expectedVersion === undefined ? {} : { expectedVersion }),
    ...(currentVersion === undefined ? {} : { currentVersion }),
    ...(cause ? { cause } : {}),
  })
}
