// Sends requests, repeats them where that is safe, and turns refusals into errors.

import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, LostPosition, ProblemError } from "./errors.js";

/** Where Rollcall is, and how to reach it. */
export interface Options {
  /** The URL of the application's side. It ends in `/app/v1`. */
  url: string;
  /** An application key, `rca_…`. */
  key: string;
  /** How often a request is sent at most. The default is 5. */
  attempts?: number;
  /** How long an answer may take, in milliseconds. The default is 60,000. */
  timeoutMs?: number;
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch;
}

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
/** After a longer `Retry-After` the caller decides. */
const LONGEST_RETRY_AFTER_MS = 60_000;

/** A path made of encoded segments. */
export function path(...segments: string[]): string {
  return segments.map((segment) => `/${encodeURIComponent(segment)}`).join("");
}

/**
 * Sends requests to one deployment.
 *
 * 429 is repeated for every method, after `Retry-After`: the request was not carried out. Lost connections, 500, 502,
 * 503 and 504 are repeated unless the method is POST: it may have been carried out, and a second one would make a second key.
 */
export class Transport {
  readonly #url: string;
  readonly #key: string;
  readonly #attempts: number;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;

  constructor(options: Options) {
    this.#url = options.url.replace(/\/+$/, "");
    this.#key = options.key;
    this.#attempts = Math.max(1, options.attempts ?? 5);
    this.#timeoutMs = options.timeoutMs ?? 60_000;
    this.#fetch = options.fetch ?? fetch;
  }

  /** The JSON of the answer; `undefined` if it has no body. */
  async send<T>(request: ApiRequest): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= this.#attempts;
      try {
        const answer = await this.#sendOnce(request);
        if (answer.ok) return answer.value as T;
        const pause = answer.pauseMs ?? pauseMs(attempt);
        const isLong = pause > LONGEST_RETRY_AFTER_MS;
        if (isLast || isLong || !mayRepeat(request.method, answer.error.status)) throw answer.error;
        await sleep(pause, undefined, signalOf(request));
      } catch (error) {
        if (request.signal?.aborted) throw request.signal.reason;
        if (error instanceof ProblemError) throw error;
        if (isLast || request.method === "POST") throw this.#lost(request, attempt, error);
        await sleep(pauseMs(attempt), undefined, signalOf(request));
      }
    }
  }

  #lost(request: ApiRequest, attempt: number, cause: unknown): ConnectionError {
    const times = attempt === 1 ? "once" : `${attempt} times`;
    const why = describe(cause);
    return new ConnectionError(
      `${request.method} ${request.path} was sent ${times} and got no answer (${why}). Check that ${this.#url} can be reached.`,
      { cause },
    );
  }

  async #sendOnce(request: ApiRequest): Promise<Answer> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const text = query.toString();
    const headers: Record<string, string> = {
      accept: "application/json",
      authorization: `Bearer ${this.#key}`,
      ...request.headers,
    };
    if (request.body !== undefined) headers["content-type"] = "application/json";
    const ending = new AbortController();
    const timer = setTimeout(() => {
      ending.abort(new Error(`no answer within ${this.#timeoutMs} ms`));
    }, this.#timeoutMs);
    const end = () => ending.abort(request.signal?.reason);
    request.signal?.addEventListener("abort", end);
    if (request.signal?.aborted) end();
    try {
      const response = await this.#fetch(`${this.#url}${request.path}${text && `?${text}`}`, {
        method: request.method,
        headers,
        redirect: "error",
        signal: ending.signal,
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      });
      return read(response, await response.text());
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener("abort", end);
    }
  }
}

type Answer = { ok: true; value: unknown } | { ok: false; error: ProblemError; pauseMs: number | null };

function read(response: Response, text: string): Answer {
  if (response.ok || response.status === 304) {
    return { ok: true, value: text === "" ? undefined : JSON.parse(text) };
  }
  return { ok: false, error: problem(response, text), pauseMs: retryAfterMs(response.headers) };
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
  );
}

function mayRepeat(method: ApiRequest["method"], status: number): boolean {
  return status === 429 || (method !== "POST" && [500, 502, 503, 504].includes(status));
}

/** `Retry-After` in milliseconds: seconds or a date (RFC 9110 §10.2.3). */
function retryAfterMs(headers: Headers): number | null {
  const text = headers.get("retry-after");
  if (text === null) return null;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}

/** Grows with each attempt. The half of it is by chance, so that clients do not come together. */
function pauseMs(attempt: number): number {
  const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (attempt - 1));
  return most / 2 + (Math.random() * most) / 2;
}

function signalOf(request: ApiRequest): { signal?: AbortSignal } {
  return request.signal ? { signal: request.signal } : {};
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
