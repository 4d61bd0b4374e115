// Serves examples/watch.html and the built client on http://localhost:8000. Its nodes must let it call them:
//     STATERAFT_CORS_ORIGINS=http://localhost:8000 make run
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import { extname } from "node:path"
import { fileURLToPath } from "node:url"

const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript" }

export const server = createServer(async ({ url = "/" }, response) => {
  const { pathname } = new URL(url, "http://localhost")
  const wanted = pathname === "/" ? "/examples/watch.html" : pathname
  try {
    const body =
      /^\/(dist|examples)\/[\w-]+\.\w+$/.test(wanted) && (await readFile(new URL(`..${wanted}`, import.meta.url)))
    response
      .writeHead(body ? 200 : 404, { "Content-Type": types[extname(wanted)] ?? "text/plain" })
      .end(body || "not found")
  } catch {
    response.writeHead(404).end("not found")
  }
})

if (fileURLToPath(import.meta.url) === process.argv[1]) {
  server.listen(8000, "127.0.0.1", () => console.log("http://localhost:8000"))
}
