// Sends requests, repeats them where that is safe, and turns refusals into errors.

import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, LostPosition, ProblemError, UnexpectedAnswer } from "./errors.js";
import { type Answer, readJson } from "./form.js";
import { checkOptions, LONGEST_TIMEOUT_MS, type Options } from "./options.js";

/** One request. */
export interface ApiRequest<T> {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** The path below the URL of the API, encoded. */
  path: string;
  /** Parameters without a value are left out. */
  query?: Readonly<Record<string, string | number | undefined>>;
  headers?: Readonly<Record<string, string>>;
  body?: unknown;
  /** The form of the answer. Without it the status must be 204. */
  answer?: Answer<T>;
  /** Ends the request and its repetitions. */
  signal?: AbortSignal | undefined;
}

/** Lists of Rollcall have at most 40 MB of JSON. AWS Lambda passes on at most 6 MB, but lists can be packed by gzip. */
const LARGEST_ANSWER_BYTES = 64 * 1024 * 1024;
/** For each so many bytes, unpacked, the answer may take a millisecond more: a slow network is no failure. */
const BYTES_PER_MS = 100;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
/** After a longer `Retry-After` the caller decides. The error has it. */
const LONGEST_RETRY_AFTER_MS = 60_000;
/** A longer `Retry-After` counts as a day. */
const MOST_RETRY_AFTER_SECONDS = 86_400;

/** A segment that is empty, `.` or `..`. */
const OTHER_ROUTE = /\/\.{0,2}(\/|$)/;

/** A path made of encoded segments. */
export function path(...segments: string[]): string {
  return segments.map((segment) => `/${encodeURIComponent(segment)}`).join("");
}

/**
 * Sends requests to one deployment.
 *
 * 429 is repeated for every method, after `Retry-After`: the request was not carried out. Lost connections, 500, 502,
 * 503 and 504 are repeated unless the method is POST: it may have been carried out, and a second one would make a second key.
 * If a repeated DELETE answers 404, the first one has been carried out. That is a success.
 *
 * A success of something else is repeated as a lost connection is: it hides whether the request was carried out. Another
 * status of something else, and an answer that is too large, would come again. They are thrown at once.
 */
export class Transport {
  readonly #url: string;
  readonly #key: string;
  readonly #attempts: number;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;

  /** @throws TypeError if a setting cannot be right. */
  constructor(options: Options) {
    checkOptions(options);
    this.#url = options.url.replace(/\/+$/, "");
    this.#key = options.key;
    this.#attempts = Math.max(1, options.attempts ?? 5);
    this.#timeoutMs = options.timeoutMs ?? 60_000;
    this.#fetch = options.fetch ?? fetch;
  }

  /**
   * The JSON of the answer; `undefined` after 204, and after 304.
   *
   * @throws ProblemError if Rollcall refuses
   * @throws UnexpectedAnswer if something else answers
   * @throws ConnectionError if there is no answer
   */
  async send<T = void>(request: ApiRequest<T>): Promise<T> {
    // Outside of the attempts: what cannot be sent is no failure of the network.
    const prepared = this.#prepare(request);
    let mayBeDone = false;
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= this.#attempts;
      let pause = pauseMs(attempt);
      const outcome = await this.#sendOnce(prepared, request);
      if ("value" in outcome) return outcome.value as T;
      if ("refusal" in outcome) {
        const { refusal } = outcome;
        if (refusal instanceof UnexpectedAnswer) throw refusal;
        const { status, retryAfter } = refusal;
        if (request.method === "DELETE" && mayBeDone && status === 404) return undefined as T;
        pause = Math.max(pause, (retryAfter ?? 0) * 1000);
        const isLong = pause > LONGEST_RETRY_AFTER_MS;
        if (isLast || isLong || !mayRepeat(request.method, status)) throw refusal;
        mayBeDone ||= status !== 429;
      } else {
        const { failure } = outcome;
        if (isLast || request.method === "POST") {
          throw failure instanceof UnexpectedAnswer ? failure : this.#lost(request, attempt, failure);
        }
        mayBeDone = true;
      }
      await this.#pause(pause, request.signal);
    }
  }

  async #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    await sleep(ms, undefined, signal ? { signal } : {}).catch((error: unknown) => {
      throw signal?.aborted ? signal.reason : error;
    });
  }

  #lost<T>(request: ApiRequest<T>, attempt: number, cause: unknown): ConnectionError {
    const times = attempt === 1 ? "once" : `${attempt} times`;
    const why = describe(cause);
    return new ConnectionError(
      `${request.method} ${request.path} was sent ${times} and got no answer (${why}). Check that ${this.#url} can be reached.`,
      { cause },
    );
  }

  /** @throws TypeError if the request cannot be sent */
  #prepare<T>(request: ApiRequest<T>): Prepared {
    if (OTHER_ROUTE.test(request.path)) {
      throw new TypeError(
        "An id or a name of a tenant is empty, . or .., which would lead to another route.",
      );
    }
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const text = query.toString();
    const headers = new Headers({
      accept: "application/json",
      authorization: `Bearer ${this.#key}`,
      ...request.headers,
    });
    const { method, body } = request;
    if (body !== undefined) headers.set("content-type", "application/json");
    return {
      url: `${this.#url}${request.path}${text && `?${text}`}`,
      init: {
        method,
        headers,
        // A redirect is an answer of something else. With "error" it would look like a lost connection.
        redirect: "manual",
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      },
    };
  }

  /** Throws only if the signal of the request ends it. */
  async #sendOnce<T>({ url, init }: Prepared, request: ApiRequest<T>): Promise<Outcome> {
    const { signal } = request;
    const ending = new AbortController();
    const start = performance.now();
    const endAfter = (ms: number) => {
      const left = Math.min(ms - (performance.now() - start), LONGEST_TIMEOUT_MS);
      return setTimeout(() => ending.abort(new Error(`no answer within ${Math.round(ms)} ms`)), left);
    };
    let timer = endAfter(this.#timeoutMs);
    const allowMore = (bytes: number) => {
      clearTimeout(timer);
      timer = endAfter(this.#timeoutMs + bytes / BYTES_PER_MS);
    };
    const end = () => ending.abort(signal?.reason);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
    try {
      const response = await this.#fetch(url, { ...init, signal: ending.signal });
      const text = await readText(response, allowMore);
      if (text === undefined) {
        return { refusal: new UnexpectedAnswer(`it has more than ${LARGEST_ANSWER_BYTES} bytes`) };
      }
      return read(response, text, request);
    } catch (failure) {
      if (signal?.aborted) throw signal.reason;
      return { failure };
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
    }
  }
}

/** A request as `fetch` takes it. */
interface Prepared {
  url: string;
  init: RequestInit;
}

/** The body; `undefined` if it is too large. `onBytes` is told how many bytes have come so far. */
async function readText(response: Response, onBytes: (bytes: number) => void): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > LARGEST_ANSWER_BYTES) return undefined;
    parts.push(part);
    onBytes(bytes);
  }
  return new TextDecoder().decode(Buffer.concat(parts));
}

/** What came of one attempt: an answer, a refusal of Rollcall or of something else, or no answer of Rollcall. */
type Outcome = { value: unknown } | { refusal: ProblemError | UnexpectedAnswer } | { failure: unknown };

/** @throws UnexpectedAnswer if it is a success that is not of Rollcall */
function read<T>(response: Response, text: string, request: ApiRequest<T>): Outcome {
  const { status } = response;
  const isUnchanged = status === 304 && request.headers?.["if-none-match"] !== undefined;
  if (isUnchanged) return { value: undefined };
  if (!response.ok) return { refusal: problem(response, text) };
  if (request.answer !== undefined) return { value: request.answer.read(readJson(text)) };
  if (status !== 204) throw new UnexpectedAnswer(`its status is ${status}, not 204`);
  return { value: undefined };
}

/**
 * A status below 500 is believed only with a problem of Rollcall, because a mirror removes what a 404 names, and ends after
 * most others. 401 and 429 are always believed.
 */
function problem(response: Response, text: string): ProblemError | UnexpectedAnswer {
  const body = readObject(text);
  const member = (name: string, otherwise: string) => {
    const value = body[name];
    return typeof value === "string" ? value : otherwise;
  };
  const { status } = response;
  const requestId = response.headers.get("x-amzn-requestid");
  const isProblem = typeof body.type === "string" && typeof body.detail === "string";
  if (!isProblem && status < 500 && status !== 401 && status !== 429) {
    const asked = requestId ? ` (x-amzn-requestid ${requestId})` : "";
    return new UnexpectedAnswer(`it is a ${status} of something else${asked}`);
  }
  const kind = status === 410 ? LostPosition : ProblemError;
  return new kind(
    status,
    member("type", "about:blank"),
    member("title", response.statusText || `Status ${status}`),
    member("detail", "The answer has no detail. It may come from a proxy in front of Rollcall."),
    requestId,
    retryAfterSeconds(response.headers),
  );
}

/** The members of a JSON object; none if the text is something else. */
function readObject(text: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function mayRepeat(method: ApiRequest<unknown>["method"], status: number): boolean {
  return status === 429 || (method !== "POST" && [500, 502, 503, 504].includes(status));
}

/**
 * `Retry-After` in seconds: a number or a date (RFC 9110 §10.2.3). A date is compared with that of the answer, because
 * the clock of this machine may be wrong.
 */
function retryAfterSeconds(headers: Headers): number | null {
  const text = headers.get("retry-after");
  if (text === null) return null;
  const sent = Date.parse(headers.get("date") ?? "");
  const now = Number.isNaN(sent) ? Date.now() : sent;
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - now) / 1000;
  return Number.isNaN(seconds) ? null : Math.min(MOST_RETRY_AFTER_SECONDS, Math.max(0, seconds));
}

/** Grows with each attempt. The half of it is by chance, so that clients do not come together. */
function pauseMs(attempt: number): number {
  const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
  return most / 2 + (Math.random() * most) / 2;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
