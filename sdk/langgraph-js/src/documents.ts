/**
 * Documents of any size, and writes of any number of operations, within a node's limits. A document that is too long for
 * one value lies in pieces, under keys x/TOKEN/N, that are written before what refers to them and never change.
 */

import { randomUUID } from "node:crypto"
import type { Entry, Op } from "stateraft"

// Values have 1 MiB, which a text of quotes and backslashes reaches at twice its length; atomic writes have 128
// operations and 4 MiB.
const pieceLength = 480 * 1024
export const mostOps = 128
export const mostLength: number = 3 * 1024 * 1024

export type SetOp = Extract<Op, { op: "set" }>

/** Returns what stores a document, and the pieces that must be there before. */
export function putDocument(key: string, document: unknown): { main: SetOp; pieces: SetOp[] } {
  const text = JSON.stringify(document)
  if (text.length <= pieceLength) {
    return { main: { op: "set", key, value: document }, pieces: [] }
  }
  const value = { token: randomUUID().replaceAll("-", ""), pieces: Math.ceil(text.length / pieceLength) }
  const pieces = pieceKeys(value).map((piece, i) => ({
    op: "set" as const,
    key: piece,
    value: text.slice(i * pieceLength, (i + 1) * pieceLength),
  }))
  return { main: { op: "set", key, value }, pieces }
}

/** Returns where the pieces of a stored document are; none if it is whole. */
export function pieceKeys(stored: any): string[] {
  if (typeof stored?.token !== "string") {
    return []
  }
  return Array.from({ length: stored.pieces }, (_, n) => `x/${stored.token}/${n}`)
}

/** Something is missing of what was being read: it was removed meanwhile. */
export class RemovedError extends Error {
  override name = "RemovedError"
}

/** Throws a RemovedError if pieces are missing: what is left may look like a document. */
export function joinPieces(pieces: readonly (Entry | undefined)[]): any {
  const there = pieces.flatMap((piece) => piece ?? [])
  if (there.length < pieces.length) {
    throw new RemovedError("pieces of a document are missing")
  }
  return JSON.parse(there.map(({ value }) => value).join(""))
}

/** Divides operations into as many as one atomic write takes. */
export function batches(ops: readonly Op[]): Op[][] {
  const all: Op[][] = []
  let size = Number.POSITIVE_INFINITY
  for (const op of ops) {
    const length = opLength(op)
    const last = all.at(-1)
    if (last && last.length < mostOps && size + length <= mostLength) {
      last.push(op)
      size += length
    } else {
      all.push([op])
      size = length
    }
  }
  return all
}

export function opLength(op: Op): number {
  return (op.op === "set" ? JSON.stringify(op.value).length : 0) + 2 * op.key.length + 100
}
