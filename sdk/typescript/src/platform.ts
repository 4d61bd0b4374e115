/** Pages may not set a User-Agent, and an attempt to costs a preflight. Every browser's own begins so. */
export function inBrowser(): boolean {
  return globalThis.navigator?.userAgent?.startsWith("Mozilla/") ?? false
}

/** Codes that only a connection which was never made fails with: of Node.js and Bun, of undici. */
const connecting = ["ECONNREFUSED", "UND_ERR_CONNECT_TIMEOUT"]
/** Calls of the system that come before a connection. Other codes, such as EHOSTUNREACH, can come of later ones, too. */
const before = ["connect", "getaddrinfo"]
/** What Deno says of such a failure, without a code. */
const denoConnecting = "client error (Connect)"

/**
 * Reports whether `fetch` failed before there was a connection, so that nothing was sent. Where a platform does not tell,
 * as browsers do not, it is false.
 */
export function neverConnected(error: unknown, depth = 0): boolean {
  if (typeof error !== "object" || error === null || depth > 8) {
    return false
  }
  const { code, syscall, message, cause, errors } = error as Record<string, unknown>
  if (Array.isArray(errors) && errors.length > 0) {
    return errors.every((one) => neverConnected(one, depth + 1)) // one for each address of a name
  }
  return (
    connecting.includes(String(code)) ||
    before.includes(String(syscall)) ||
    String(message).includes(denoConnecting) ||
    neverConnected(cause, depth + 1)
  )
}
