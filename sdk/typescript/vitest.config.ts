import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    exclude: ["**/node_modules/**", ".cache/**"],
    globalSetup: "tests/cluster/shared.ts",
    fileParallelism: false, // two cores, three nodes
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
