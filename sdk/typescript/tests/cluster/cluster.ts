import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { StateraftClient } from "stateraft"
import { root } from "../root.js"

const startMs = 60_000

/** Three nodes that are processes of their own. */
export class Cluster {
  readonly urls: string[]
  readonly #nodes: ChildProcess[]
  readonly #folder: string

  private constructor(urls: string[], nodes: ChildProcess[], folder: string) {
    this.urls = urls
    this.#nodes = nodes
    this.#folder = folder
  }

  /** Starts a cluster, with flags beyond those that every node has, and waits until all nodes serve. */
  static async start(...flags: string[]): Promise<Cluster> {
    for (let tries = 1; ; tries++) {
      const cluster = Cluster.#spawn(await freeAddresses(9), flags)
      try {
        await Promise.all(cluster.urls.map((url, i) => cluster.#untilReady(url, i)))
        return cluster
      } catch (error) {
        const logs = cluster.#logs()
        await cluster.stop()
        // Somebody else may have taken an address meanwhile.
        if (tries === 3 || !logs.includes("address already in use")) {
          throw new Error(`the cluster does not start:\n${logs}`, { cause: error })
        }
      }
    }
  }

  static #spawn(addresses: string[], flags: string[]): Cluster {
    const scratch = join(root, "sdk", "typescript", ".cache")
    mkdirSync(scratch, { recursive: true })
    const folder = mkdtempSync(join(scratch, "cluster-"))
    const [http, raft, gossip] = [addresses.slice(0, 3), addresses.slice(3, 6), addresses.slice(6)]
    const nodes = http.map((address, i) => {
      const own = ["--node-id", `n${i + 1}`, "--data-dir", join(folder, `n${i + 1}`), "--http-addr", address]
      const among = ["--raft-addr", raft[i] ?? "", "--gossip-addr", gossip[i] ?? "", "--join", gossip.join(",")]
      const log = openSync(logOf(folder, i), "w")
      return spawn(binary(), ["serve", ...own, ...among, "--bootstrap-expect", "3", ...flags], {
        stdio: ["ignore", log, log],
      })
    })
    const urls = http.map((address) => `http://${address}`)
    return new Cluster(urls, nodes, folder)
  }

  async #untilReady(url: string, i: number): Promise<void> {
    const client = new StateraftClient({ baseUrl: url })
    for (const end = Date.now() + startMs; ; ) {
      try {
        return await client.ready()
      } catch (error) {
        if (Date.now() > end || this.#nodes[i]?.exitCode !== null) {
          throw error
        }
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  #logs(): string {
    return this.#nodes.map((_, i) => readFileSync(logOf(this.#folder, i), "utf8").slice(-2000)).join("\n")
  }

  /** The endpoints, beginning with that of one node. */
  from(first: number): string[] {
    return [...this.urls.slice(first), ...this.urls.slice(0, first)]
  }

  /** The place of the leader, once there is one. */
  async leader(): Promise<number> {
    for (;;) {
      const answer = await fetch(`${this.urls[0]}/v1/cluster`)
      const { leader } = (await answer.json()) as { leader: string }
      if (leader) {
        return Number(leader.slice(1)) - 1
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Kills a node by SIGKILL, and waits until it is gone. */
  async kill(i: number): Promise<void> {
    const node = this.#nodes[i]
    if (node && node.exitCode === null && node.signalCode === null) {
      const gone = new Promise((resolve) => node.once("exit", resolve))
      node.kill("SIGKILL")
      await gone
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map((_, i) => this.kill(i)))
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

let built: string | undefined

/** The server: STATERAFT_BINARY, or the tree's own, built once. */
function binary(): string {
  built ??= process.env["STATERAFT_BINARY"]
  if (built === undefined) {
    built = join(root, "sdk", "typescript", ".cache", "stateraft")
    execFileSync("go", ["build", "-o", built, "./cmd/stateraft"], { cwd: root, stdio: "inherit" })
  }
  return built
}

function logOf(folder: string, i: number): string {
  return join(folder, `n${i + 1}.log`)
}

/**
 * Addresses that nobody listens at, below the ports that outgoing connections take, and below those of the tests of the
 * Python client, which may run at the same time.
 */
export async function freeAddresses(count: number): Promise<string[]> {
  const free = new Set<string>()
  while (free.size < count) {
    const port = 10_000 + Math.floor(Math.random() * 10_000)
    const server = createServer().listen(port, "127.0.0.1")
    const listens = await new Promise<boolean>((resolve) => {
      server.once("listening", () => resolve(true)).once("error", () => resolve(false))
    })
    if (listens) {
      await new Promise((resolve) => server.close(resolve))
      free.add(`127.0.0.1:${port}`)
    }
  }
  return [...free]
}
