/** Timers hold no more: a longer time would be over at once. */
const longestTimer = 2 ** 31 - 1

/** Whole milliseconds of a clock that nobody sets. */
export const now = (): number => Math.round(performance.now())

export function after(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, Math.min(Math.ceil(ms), longestTimer))
  return () => clearTimeout(timer)
}

/** Waits, unless the signal is aborted before. Never rejects. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      return resolve()
    }
    const done = () => {
      stop()
      signal?.removeEventListener("abort", done)
      resolve()
    }
    const stop = after(ms, done)
    signal?.addEventListener("abort", done)
  })
}
