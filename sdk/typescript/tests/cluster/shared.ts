import type { TestProject } from "vitest/node"
import { Cluster } from "./cluster.js"

declare module "vitest" {
  interface ProvidedContext {
    /** Endpoints of a cluster that all tests share which hurt no node. */
    endpoints: string[]
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const cluster = await Cluster.start()
  project.provide("endpoints", cluster.urls)
  return () => cluster.stop()
}
