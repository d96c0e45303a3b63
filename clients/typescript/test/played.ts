// A deployment that is played: a test decides what it answers, and when.

import { setTimeout as sleep } from "node:timers/promises";
import { Rollcall } from "../src/index.js";

/** What the deployment answers. */
export interface Played {
  status?: number;
  headers?: Record<string, string>;
  /** What is sent as JSON. Without it, a refusal has the problem of Rollcall, and a success has no body. */
  body?: unknown;
  /** The body, if it is no JSON. */
  text?: string;
}

/** A refusal of Rollcall. */
export function problem(status: number): Played {
  return { status, body: { type: "about:blank", title: "No", status, detail: "It is not there." } };
}

export const TENANT = { tenant: "acme", incarnation: "i1", version: 1, rootTeam: "g1" };

/** A deployment with one tenant, which has one user, and with no changes. */
export class Deployment {
  /** The requests so far, such as `GET /status`. */
  readonly requests: string[] = [];
  /** Answers in the place of the deployment, if it returns something. */
  answer: (request: string, query: URLSearchParams) => Played | undefined = () => undefined;
  /** How long each answer takes, in milliseconds. */
  delayOf: (request: string) => number = () => 0;

  client(attempts = 5, fetch = this.#fetch): Rollcall {
    return new Rollcall({ url: "http://127.0.0.1:9/app/v1", key: "rca_x", attempts, fetch });
  }

  count(request: string): number {
    return this.requests.filter((one) => one === request).length;
  }

  readonly #fetch = (async (url: string, init: RequestInit = {}) => {
    const { pathname, searchParams } = new URL(url);
    const request = `${init.method} ${pathname.replace("/app/v1", "")}`;
    this.requests.push(request);
    await sleep(this.delayOf(request), undefined, init.signal ? { signal: init.signal } : {});
    const played = this.answer(request, searchParams) ?? { body: usual(request, searchParams) };
    const { status = 200, headers = {}, text } = played;
    const body = "body" in played || status < 400 ? played.body : problem(status).body;
    return new Response(text ?? (body === undefined ? null : JSON.stringify(body)), { status, headers });
  }) as typeof fetch;
}

function usual(request: string, query: URLSearchParams): unknown {
  const [, path = ""] = request.split(" ");
  if (path === "/status") return { snapshot: "snapshot" };
  if (path === "/changes") return { changes: [], next: query.get("after") ?? "end", more: false };
  if (path === "/tenants") return { tenants: [TENANT] };
  if (path === "/tenants/acme") return TENANT;
  if (path.endsWith("/Users")) {
    return { Resources: [{ id: "u1", userName: "ada@example.com", meta: { version: 'W/"1"' } }] };
  }
  if (path.endsWith("/Groups")) return { Resources: [] };
  return { roles: [], entitlements: [] };
}
