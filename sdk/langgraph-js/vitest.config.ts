import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    globals: true,
    fileParallelism: false, // each file has a cluster
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
