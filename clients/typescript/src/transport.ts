// Sends requests, repeats them where that is safe, and turns refusals into errors.

import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, LostPosition, ProblemError } from "./errors.js";
import { checkOptions, type Options } from "./options.js";

/** One request. */
export interface ApiRequest {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** The path below the URL of the API, encoded. */
  path: string;
  /** Parameters without a value are left out. */
  query?: Readonly<Record<string, string | number | undefined>>;
  headers?: Record<string, string>;
  body?: unknown;
  /** Ends the request and its repetitions. */
  signal?: AbortSignal | undefined;
}

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
/** After a longer `Retry-After` the caller decides. The error has it. */
const LONGEST_RETRY_AFTER_MS = 60_000;
/** A longer `Retry-After` counts as a day. */
const MOST_RETRY_AFTER_SECONDS = 86_400;

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

  /** The JSON of the answer; `undefined` if it has no body. */
  async send<T>(request: ApiRequest): Promise<T> {
    // Outside of the attempts: what cannot be sent is no failure of the network.
    const prepared = this.#prepare(request);
    let mayBeDone = false;
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= this.#attempts;
      let pause = pauseMs(attempt);
      try {
        const answer = await this.#sendOnce(prepared, request.signal);
        if (answer.ok) return answer.value as T;
        const { status, retryAfter } = answer.error;
        if (request.method === "DELETE" && mayBeDone && status === 404) return undefined as T;
        pause = Math.max(pause, (retryAfter ?? 0) * 1000);
        const isLong = pause > LONGEST_RETRY_AFTER_MS;
        if (isLast || isLong || !mayRepeat(request.method, status)) throw answer.error;
        mayBeDone ||= status !== 429;
      } catch (error) {
        if (request.signal?.aborted) throw request.signal.reason;
        if (error instanceof ProblemError) throw error;
        if (isLast || request.method === "POST") throw this.#lost(request, attempt, error);
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

  #lost(request: ApiRequest, attempt: number, cause: unknown): ConnectionError {
    const times = attempt === 1 ? "once" : `${attempt} times`;
    const why = describe(cause);
    return new ConnectionError(
      `${request.method} ${request.path} was sent ${times} and got no answer (${why}). Check that ${this.#url} can be reached.`,
      { cause },
    );
  }

  #prepare(request: ApiRequest): Prepared {
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
        redirect: "error",
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      },
    };
  }

  async #sendOnce({ url, init }: Prepared, signal: AbortSignal | undefined): Promise<Answer> {
    const ending = new AbortController();
    const timer = setTimeout(() => {
      ending.abort(new Error(`no answer within ${this.#timeoutMs} ms`));
    }, this.#timeoutMs);
    const end = () => ending.abort(signal?.reason);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
    try {
      const response = await this.#fetch(url, { ...init, signal: ending.signal });
      return read(response, await response.text());
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

type Answer = { ok: true; value: unknown } | { ok: false; error: ProblemError };

function read(response: Response, text: string): Answer {
  if (response.ok || response.status === 304) {
    return { ok: true, value: text === "" ? undefined : readJson(response, text) };
  }
  return { ok: false, error: problem(response, text) };
}

function readJson(response: Response, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`a ${response.status} without JSON, which is not from Rollcall`, { cause });
  }
}

function problem(response: Response, text: string): ProblemError {
  let body: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) body = parsed as Record<string, unknown>;
  } catch {
    // A proxy on the way may answer something that is not JSON.
  }
  const member = (name: string, otherwise: string) =>
    typeof body[name] === "string" ? (body[name] as string) : otherwise;
  const { status } = response;
  const kind = status === 410 ? LostPosition : ProblemError;
  return new kind(
    status,
    member("type", "about:blank"),
    member("title", response.statusText || `Status ${status}`),
    member("detail", "The answer has no detail. It may come from a proxy in front of Rollcall."),
    response.headers.get("x-amzn-requestid"),
    retryAfterSeconds(response.headers),
  );
}

function mayRepeat(method: ApiRequest["method"], status: number): boolean {
  return status === 429 || (method !== "POST" && [500, 502, 503, 504].includes(status));
}

/** `Retry-After` in seconds: a number or a date (RFC 9110 §10.2.3). */
function retryAfterSeconds(headers: Headers): number | null {
  const text = headers.get("retry-after");
  if (text === null) return null;
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
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
