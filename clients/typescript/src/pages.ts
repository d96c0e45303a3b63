// Goes through the pages of a list.

import { UnexpectedAnswer } from "./errors.js";

/** A cache that ignores the query of a request answers the same page again and again. */
export const DOES_NOT_GO_ON = "it says that there is more, and does not go on";

/** A page of a list. SCIM calls the cursor of the next page `nextCursor` (RFC 9865), other lists call it `next`. */
interface Page {
  next?: string | null;
  nextCursor?: string | null;
}

/**
 * The pages of a list, one after another.
 *
 * @param first the cursor of the first page
 * @throws UnexpectedAnswer if a page leads to itself
 */
export async function* pagesOf<P extends Page>(
  fetchPage: (cursor: string | undefined) => Promise<P>,
  first?: string,
): AsyncGenerator<P, void, undefined> {
  let cursor = first;
  for (;;) {
    const page: P = await fetchPage(cursor);
    yield page;
    const next: string | null = page.next ?? page.nextCursor ?? null;
    if (next === null) return;
    if (next === cursor) throw new UnexpectedAnswer(DOES_NOT_GO_ON);
    cursor = next;
  }
}

/** The query for a page; empty for the first one. */
export function withCursor(cursor: string | undefined): { cursor?: string } {
  return cursor === undefined ? {} : { cursor };
}
