import { StateraftClient } from "stateraft"
import { expect, inject, test } from "vitest"

const writes = 1000
const endpoints = inject("endpoints")

/**
 * How long it takes from a write by one client to the callback of another, at another node, beside a stream that is read
 * with fetch alone, at the same node and of the same writes.
 */
test(`from a write to the callback, ${writes} times`, async () => {
  const [first = "", second = ""] = endpoints
  const writer = new StateraftClient({ baseUrl: first })
  const reader = new StateraftClient({ baseUrl: second })
  const called = new Map<number, number>()
  const raw = new Map<number, number>()
  const subscription = reader.state.subscribe("latency", "k", ({ newValue }) => {
    called.set(newValue, performance.now())
  })
  await subscription.opened
  const controller = new AbortController()
  const stream = await fetch(`${second}/v1/state/latency/k/stream`, { signal: controller.signal })
  const reading = readRaw(stream, raw).catch(() => {})

  const sent: number[] = []
  for (let n = 0; n < writes; n++) {
    sent.push(performance.now())
    await writer.state.set("latency", "k", n)
  }
  for (const end = Date.now() + 10_000; (called.size < writes || raw.size < writes) && Date.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  subscription.close()
  controller.abort()
  await reading
  expect([called.size, raw.size]).toEqual([writes, writes])
  console.log(`write to callback: ${figures(sent, called)}; raw HTTP stream: ${figures(sent, raw)}`)
}, 300_000)

async function readRaw(response: Response, arrived: Map<number, number>): Promise<void> {
  const decoder = new TextDecoder()
  let text = ""
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    const at = performance.now()
    text += decoder.decode(chunk, { stream: true })
    const blocks = text.split("\n\n")
    text = blocks.pop() ?? ""
    for (const block of blocks) {
      const value = /"newValue":(\d+)/.exec(block)?.[1]
      if (value !== undefined) {
        arrived.set(Number(value), at)
      }
    }
  }
}

function figures(sent: number[], arrived: Map<number, number>): string {
  const took = sent.map((at, n) => (arrived.get(n) ?? Number.NaN) - at).sort((a, b) => a - b)
  const at = (part: number) => `${(took[Math.ceil(took.length * part) - 1] ?? Number.NaN).toFixed(2)} ms`
  return `p50 ${at(0.5)}, p99 ${at(0.99)}`
}
