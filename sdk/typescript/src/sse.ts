/** What stands between two empty lines of a stream. */
export interface Block {
  /** "": unnamed. */
  event: string
  /** Lines joined by line feeds. Undefined: the block had none. */
  data: string | undefined
  /** Of the last block that set one, which may be an earlier one. */
  id: string
  /** How long to wait before connecting again. Undefined: not said. */
  retryMs: number | undefined
}

/** Bounds a block, and so each of its lines. An event tells a value, which may have 8 MiB, three times. */
const maxBlockLength = 32 * 1024 * 1024

const lineBreak = /[\r\n]/g

/**
 * Reads a text/event-stream as the WHATWG's standard parses it. It differs where a client that resumes has to know more:
 * blocks without data come out too, if they set an id or a retry, because they move the place to resume from. A block
 * that the stream's end cuts short never does.
 */
export class SseDecoder {
  readonly #text = new TextDecoder() // which passes over a byte order mark at the start
  #line = "" // the part of a line that is here
  #afterReturn = false // a line feed that comes next belongs to the line before
  #length = 0 // of the block so far
  #block: Block = empty("")
  #telling = false // the block says something

  /** Takes a chunk and returns the blocks that it completes. Throws if a block is too long. */
  push(chunk: Uint8Array): Block[] {
    const text = this.#text.decode(chunk, { stream: true })
    const blocks: Block[] = []
    let from = this.#afterReturn && text.startsWith("\n") ? 1 : 0
    if (text !== "") {
      this.#afterReturn = false
    }
    for (let end = lineEnd(text, from); end >= 0; end = lineEnd(text, from)) {
      this.#take(text.slice(from, end))
      this.#endLine(blocks)
      this.#afterReturn = text[end] === "\r" && end + 1 === text.length
      from = text.startsWith("\r\n", end) ? end + 2 : end + 1
    }
    this.#take(text.slice(from))
    return blocks
  }

  #take(piece: string): void {
    this.#length += piece.length
    if (this.#length > maxBlockLength) {
      throw new RangeError(`an event is too long: more than ${maxBlockLength} characters`)
    }
    this.#line += piece
  }

  #endLine(blocks: Block[]): void {
    const line = this.#line
    this.#line = ""
    if (line !== "") {
      this.#telling = takeField(this.#block, line) || this.#telling
      return
    }
    if (this.#telling) {
      blocks.push(this.#block)
    }
    this.#block = empty(this.#block.id)
    this.#telling = false
    this.#length = 0
  }
}

function empty(id: string): Block {
  return { event: "", data: undefined, id, retryMs: undefined }
}

function lineEnd(text: string, from: number): number {
  lineBreak.lastIndex = from
  return lineBreak.exec(text)?.index ?? -1
}

/** Takes a line into the block, and reports whether the block says something by it. */
function takeField(block: Block, line: string): boolean {
  const colon = line.indexOf(":")
  const name = colon < 0 ? line : line.slice(0, colon)
  const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1)
  if (name === "data") {
    block.data = block.data === undefined ? value : `${block.data}\n${value}`
    return true
  }
  if (name === "id" && !value.includes("\0")) {
    block.id = value
    return true
  }
  if (name === "retry" && /^\d{1,10}$/.test(value)) {
    block.retryMs = Number(value)
    return true
  }
  if (name === "event") {
    block.event = value
  }
  return false
}
