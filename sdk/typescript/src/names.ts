import { refuse } from "./errors.js"
import { escapeName, fitsHeader } from "./request.js"

export const agentPath = "/api/v1/state"

/** Returns the path of a workflow. What a server on the way could take for another path is refused here. */
export function workflowPath(workflow: string): string {
  return `/v1/state/${segment("workflow", workflow)}`
}

export function keyPath(workflow: string, key: string): string {
  return `${workflowPath(workflow)}/${segment("key", key)}`
}

/** Returns the path of a key of Agent State, none of whose segments may be one that means another path. */
export function agentKeyPath(key: string): string {
  for (const piece of key.split("/")) {
    if (piece !== "" || key === "") {
      segment("a segment of the key", piece)
    }
  }
  return `${agentPath}/${escapeName("key", key, "INVALID_KEY")}`
}

/** Refuses what is no subject, or would be another one once it has travelled in a header. */
export function checkSubject(subject: string): string {
  segment("subject", subject)
  if (!fitsHeader(subject)) {
    throw refuse("INVALID_KEY", "subject has control characters, or white space at an end")
  }
  return subject
}

function segment(member: string, name: string): string {
  if (typeof name !== "string" || name === "") {
    throw refuse("INVALID_KEY", `${member} is empty, or no string`)
  }
  if (name === "." || name === "..") {
    throw refuse("INVALID_KEY", `${member} is ${JSON.stringify(name)}, which is not allowed`)
  }
  return escapeName(member, name, "INVALID_KEY")
}
