// What a request can fail with. Each message says what to change.

/** A refusal of the API (RFC 9457). */
export class ProblemError extends Error {
  override name = "ProblemError";

  constructor(
    /** The HTTP status. */
    readonly status: number,
    /** `about:blank`, or `urn:rollcall:problem:` and a name. */
    readonly type: string,
    /** What the type is called. */
    readonly title: string,
    /** What to change. */
    readonly detail: string,
    /** The id of the request in the log of Rollcall. */
    readonly requestId: string | null,
    /** For how many seconds the server asks to wait (`Retry-After`); `null` if it does not say. */
    readonly retryAfter: number | null = null,
  ) {
    super(`${status} ${title}: ${detail}`);
  }

  /** The name in `type`, such as `invalidFilter`; `null` for `about:blank`. */
  get code(): string | null {
    const prefix = "urn:rollcall:problem:";
    return this.type.startsWith(prefix) ? this.type.slice(prefix.length) : null;
  }
}

/** 410: the feed cannot be read from this position. Take a snapshot. */
export class LostPosition extends ProblemError {
  override name = "LostPosition";
}

/** No answer came, after all attempts. The cause is in `cause`. */
export class ConnectionError extends Error {
  override name = "ConnectionError";
}

/** An answer that is not of this API, but of a proxy for example. It may hide an answer of Rollcall. */
export class UnexpectedAnswer extends ConnectionError {
  override name = "UnexpectedAnswer";

  /** @param what what was wrong, without values of the answer but its request id: they may be secrets */
  constructor(readonly what: string) {
    super(
      `The answer is not of this API: ${what}. Check that the URL ends in /app/v1, and whether a proxy answered.`,
    );
  }
}

/** Whether the same request may succeed later. */
export function isTemporary(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  return error instanceof ProblemError && (error.status === 429 || error.status >= 500);
}
