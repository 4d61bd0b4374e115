import { BadResponseError, type StateEvent, StateraftClient } from "stateraft"
import { expect, test } from "vitest"

/** Inputs by chance, each from a seed that a failure names. */
const rounds = 300

function client(respond: () => Response): StateraftClient {
  return new StateraftClient({ fetch: async () => respond() })
}

function streamOf(bytes: Uint8Array, cut: () => number): Response {
  let at = 0
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at >= bytes.length) {
        return // it stays open
      }
      const to = at + cut()
      controller.enqueue(bytes.slice(at, to))
      at = to
    },
  })
  return new Response(body, { headers: { "Content-Type": "text/event-stream" } })
}

test("values come back with their exact text, however the answer is spaced", async () => {
  for (let seed = 0; seed < rounds; seed++) {
    const chance = random(seed)
    const [first, second] = [anyValue(chance, 4), anyValue(chance, 4)]
    const space = () => pick(chance, ["", " ", "\n", "\t ", "\r\n"])
    const object = (value: string) => {
      const members = [
        '"value":"another, which the later one replaces"',
        `"key"${space()}:${space()}"k\\"}"`,
        `"value"${space()}:${space()}${value}`,
        '"version":1',
        '"more":[{"value":0}]',
      ]
      return `{${space()}${members.map((m) => space() + m + space()).join(",")}${space()}}`
    }
    const body = `{"keys":["k","l"],"entries":${space()}[${space()}${object(first)}${space()},${object(second)}${space()}]}`
    const { entries } = await client(() => new Response(body)).state.list("wf", { values: true })
    expect(
      entries?.map(({ raw }) => raw),
      `seed ${seed}`,
    ).toEqual([first, second])
    expect(
      entries?.map(({ value }) => value),
      `seed ${seed}`,
    ).toEqual([JSON.parse(first), JSON.parse(second)])
  }
})

test("a stream tells the same, however it is cut", async () => {
  for (let seed = 0; seed < rounds; seed++) {
    const chance = random(seed)
    const end = pick(chance, ["\n", "\r", "\r\n"])
    const values = Array.from({ length: 5 }, () => anyValue(chance, 3))
    const blocks = values.map((value, i) => {
      const data = `data:${pick(chance, ["", " "])}{"type":"set","key":"k","oldValue":null,"newValue":${value},"version":${i},"revision":${i + 5}}`
      return [...(chance() < 0.3 ? [": comment", "", "unknown", ""] : []), `id: ${i + 5}`, data, "", ""].join(end)
    })
    const text = ["\ufeffretry: 1000", "id: 4", "", ""].join(end) + blocks.join("")
    const respond = () => streamOf(new TextEncoder().encode(text), () => 1 + Math.floor(chance() * 40))
    const told: StateEvent[] = []
    for await (const event of client(respond).state.subscribe("wf", "k")) {
      told.push(event)
      if (told.length === values.length) {
        break
      }
    }
    expect(
      told.map(({ rawNewValue }) => rawNewValue),
      `seed ${seed}`,
    ).toEqual(values)
    expect(
      told.map(({ revision }) => revision),
      `seed ${seed}`,
    ).toEqual([5, 6, 7, 8, 9])
  }
})

test("an event over the bound of 32 Mi characters ends the subscription", async () => {
  const chunks = [new TextEncoder().encode("id: 4\n\ndata: "), new Uint8Array(33 * 1024 * 1024).fill(0x61)]
  const long = () => {
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(chunks.shift() as Uint8Array),
    })
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } })
  }
  const subscription = client(long).state.subscribe("wf", "k", () => {})
  await expect(subscription.done).rejects.toBeInstanceOf(BadResponseError)
})

test("a slow reader: events are read as they are asked for, not before", async () => {
  let pulled = 0
  const respond = () => {
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          const event = `{"type":"set","key":"k","oldValue":null,"newValue":1,"version":1,"revision":${++pulled}}`
          controller.enqueue(new TextEncoder().encode(`id: ${pulled}\ndata: ${event}\n\n`))
        },
      },
      { highWaterMark: 0 },
    )
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } })
  }
  const events = client(respond).state.subscribe("wf", "k")[Symbol.asyncIterator]()
  for (let n = 1; n <= 20; n++) {
    const { value } = await events.next()
    expect(value?.revision).toBe(n)
    expect(pulled).toBe(n)
  }
  await events.return?.()
})

type Chance = () => number

/** Numbers from 0 up to 1, the same for a seed (mulberry32). */
function random(seed: number): Chance {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

function pick<T>(chance: Chance, from: readonly T[]): T {
  return from[Math.floor(chance() * from.length)] as T
}

/** The text of a value, without white space between tokens. */
function anyValue(chance: Chance, depth: number): string {
  const scalars = [
    "null",
    "true",
    "1.10",
    "-0",
    "12345678901234567890",
    "1E+30",
    '""',
    '"\\\\"',
    '"a\\"]},{"',
    '"é漢😀\\u00e9"',
    '"\\\\\\""',
  ]
  const kind = depth === 0 ? 0 : Math.floor(chance() * 3)
  if (kind === 0) {
    return pick(chance, scalars)
  }
  const items = Array.from({ length: Math.floor(chance() * 4) }, () => anyValue(chance, depth - 1))
  const names = ['"a"', '"value"', '"}\\""', '"é"']
  return kind === 1 ? `[${items}]` : `{${items.map((item, i) => `${names[i]}:${item}`)}}`
}
