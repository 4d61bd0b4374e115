/**
 * How a thread lies in the store. A thread is a workflow. In its keys NS is a checkpoint namespace:
 *
 *     h/NS                  the head: {"id"} of the checkpoint that was put last; null: the first is still to come
 *     c/NS/ID               a checkpoint without its channels' values
 *     b/NS/CHANNEL/VERSION  a channel's value
 *     w/NS/ID/TASK/INDEX    a pending write of a checkpoint
 *     x/TOKEN/N             a piece of a document, see documents.ts
 *
 * The threads themselves are the keys of one more workflow. The Python saver's layout is the same.
 */

import { createHash } from "node:crypto"

export const headsPrefix = "h/"
export const checkpointsPrefix = "c/"

/** How keys begin, in the order in which they are removed: what refers to something before what it refers to. */
export const deletedInOrder: readonly string[] = [headsPrefix, checkpointsPrefix, "w/", "b/", "x/"]

export function headKey(ns: string): string {
  return `${headsPrefix}${segment(ns)}`
}

export function checkpointKey(ns: string, id: string): string {
  return `${checkpointsPrefix}${segment(ns)}/${segment(id)}`
}

export function checkpointIdOf(key: string): string {
  return decodeURIComponent(key.slice(key.lastIndexOf("/") + 1))
}

export function blobKey(ns: string, channel: string, version: string | number): string {
  return `b/${segment(ns)}/${segment(channel)}/${segment(String(version))}`
}

export function writesPrefix(ns: string, id: string): string {
  return `w/${segment(ns)}/${segment(id)}/`
}

export function taskPrefix(ns: string, id: string, task: string): string {
  return `${writesPrefix(ns, id)}${segment(task)}/`
}

/** Returns a text as a piece of a key, which has 512 bytes in all. */
function segment(text: string): string {
  const escaped = encodeURIComponent(text)
    .replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%3A", ":")
    .replaceAll("%7C", "|")
  return escaped.length <= 120 ? escaped : `%${createHash("sha256").update(text).digest("hex")}`
}
