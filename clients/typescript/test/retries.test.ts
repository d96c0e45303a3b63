// When a request is sent again, and how long the client waits before.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "libsql";
import { ConnectionError, Mirror, type ProblemError, SqliteStorage, UnexpectedAnswer } from "../src/index.js";
import { Deployment, type Played } from "./played.js";

/** Answers one after another. The last one is repeated. */
function inTurn(...answers: (Played | "lose" | undefined)[]): Deployment["answer"] {
  let turn = 0;
  return () => {
    const answer = answers[Math.min(turn++, answers.length - 1)];
    if (answer === "lose") throw new TypeError("fetch failed");
    return answer;
  };
}

const after = (status: number, text: string): Played => ({ status, headers: { "retry-after": text } });

test("a short Retry-After does not shorten the pauses", async () => {
  for (const text of ["0", "Thu, 01 Jan 1970 00:00:00 GMT", "soon"]) {
    const deployment = new Deployment();
    deployment.answer = inTurn(after(503, text), after(503, text), after(503, text), undefined);
    const start = performance.now();
    await deployment.client().status();
    assert.equal(deployment.requests.length, 4);
    // The halves of 200, 400 and 800 ms.
    assert.ok(performance.now() - start >= 690, `${text}: ${performance.now() - start} ms`);
  }
});

test("an error has the seconds of Retry-After", async () => {
  const cases: [string | undefined, number | null][] = [
    ["61", 61],
    ["3600", 3600],
    ["99999999999", 86_400],
    ["soon", null],
    [undefined, null],
  ];
  for (const [text, expected] of cases) {
    const deployment = new Deployment();
    deployment.answer = () => (text === undefined ? { status: 429 } : after(429, text));
    await assert.rejects(deployment.client(1).status(), { retryAfter: expected });
    assert.equal(deployment.requests.length, 1);
  }
  const deployment = new Deployment();
  deployment.answer = () => after(503, new Date(Date.now() + 120_000).toUTCString());
  await assert.rejects(deployment.client().status(), ({ retryAfter }: ProblemError) => {
    assert.ok(retryAfter !== null && retryAfter > 115 && retryAfter <= 120, String(retryAfter));
    return true;
  });
  assert.equal(deployment.requests.length, 1, "the caller decides");
});

test("a date to wait for is compared with the clock of the server", async () => {
  const now = Date.now() + 365 * 86_400_000;
  const headers = {
    date: new Date(now).toUTCString(),
    "retry-after": new Date(now + 120_000).toUTCString(),
  };
  const deployment = new Deployment();
  deployment.answer = () => ({ status: 503, headers });
  await assert.rejects(deployment.client().status(), { retryAfter: 120 });
});

test("a mirror waits for a long Retry-After", async () => {
  const deployment = new Deployment();
  deployment.answer = () => after(429, "120");
  const errors: unknown[] = [];
  const options = { pollMs: 10, onError: (error: unknown) => errors.push(error) };
  const mirror = new Mirror(deployment.client(), new SqliteStorage(new Database(":memory:")), options);
  const ending = new AbortController();
  const following = mirror.follow(ending.signal);
  await sleep(500);
  assert.equal(deployment.requests.length, 1);
  assert.equal(errors.length, 1);
  ending.abort();
  await following;
});

test("a DELETE that was carried out at the first attempt is a success", async () => {
  for (const first of ["lose", { status: 502 }, { status: 503 }] as const) {
    for (const send of ["revokeKey", "revokeClient", "deleteRole", "deleteEntitlement"] as const) {
      const deployment = new Deployment();
      deployment.answer = inTurn(first, { status: 404 });
      assert.equal(await deployment.client()[send]("acme", "one"), undefined);
      assert.equal(deployment.requests.length, 2);
    }
  }
});

test("a DELETE of what is not there stays a 404", async () => {
  for (const answers of [[{ status: 404 }], [after(429, "0"), { status: 404 }]]) {
    const deployment = new Deployment();
    deployment.answer = inTurn(...answers);
    await assert.rejects(deployment.client().deleteWebhook("wh_1"), { status: 404 });
    assert.equal(deployment.requests.length, answers.length);
  }
  const deployment = new Deployment();
  deployment.answer = inTurn("lose", { status: 404 });
  await assert.rejects(deployment.client().updateWebhook("wh_1", {}), { status: 404 });
});

test("what cannot be sent is not repeated, and is no failure of the network", async () => {
  const deployment = new Deployment();
  const rollcall = deployment.client();
  await assert.rejects(rollcall.deleteRole("acme", "r", { ifMatch: 'W/"3"\n\n"' }), TypeError);
  await assert.rejects(rollcall.createRole("acme", { id: 1n } as never), TypeError);
  assert.equal(deployment.requests.length, 0);
});

test("a success without JSON is not from Rollcall", async () => {
  const fetch = () => Promise.resolve(new Response("<html>Sign in</html>"));
  const rollcall = new Deployment().client(1, fetch as typeof globalThis.fetch);
  await assert.rejects(rollcall.status(), (error: Error) => {
    assert.ok(error instanceof ConnectionError && error instanceof UnexpectedAnswer);
    assert.match(error.message, /it is not JSON/);
    return true;
  });
});
