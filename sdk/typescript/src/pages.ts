import { refuse } from "./errors.js"

/** Keys of a page of `pages`, unless `limit` says otherwise. */
export const pageLimit = 1000

/** Reads page after page, each when it is asked for. */
export async function* pages<Page extends { next: string | null }>(
  from: string | undefined,
  list: (after: string | undefined) => Promise<Page>,
): AsyncGenerator<Page, void, undefined> {
  for (let after = from; ; ) {
    const page = await list(after)
    if (page.next !== null && page.next === after) {
      throw refuse("BAD_RESPONSE", "the list does not advance")
    }
    yield page
    if (page.next === null) {
      return
    }
    after = page.next
  }
}
