// Webhook verification: messages that the library of Standard Webhooks signs, and those of the real server.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { Webhook } from "standardwebhooks";
import ts from "typescript";
import { verifyWebhook, WebhookVerificationError, WebhookVerifier } from "../src/index.js";
import { Server } from "./server.js";

const secret = `whsec_${randomBytes(32).toString("base64")}`;
const other = `whsec_${randomBytes(32).toString("base64")}`;
const body =
  '{"type":"rollcall.changes","timestamp":"2026-11-26T12:30:00.000Z","data":{"changes":[],"next":"ä"}}';

function signed(by: string, at = new Date(), text = body): Record<string, string> {
  return {
    "Webhook-Id": "msg_1",
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(by).sign("msg_1", at, text),
  };
}

test("messages that the library signs are taken, from any kind of headers and body", () => {
  for (const headers of [signed(secret), new Headers(signed(secret)), withLists(signed(secret))]) {
    for (const bytes of [body, Buffer.from(body), new TextEncoder().encode(body)]) {
      assert.equal(verifyWebhook(secret, headers, bytes).data.next, "ä");
    }
  }
});

function withLists(headers: Record<string, string>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
}

test("while a secret is rotated, one signature of several is enough", () => {
  const headers = signed(secret);
  const both = {
    ...headers,
    "webhook-signature": `${signed(other)["webhook-signature"]} ${headers["webhook-signature"]}`,
  };
  for (const known of [secret, other, [other, secret]]) assert.ok(verifyWebhook(known, both, body));
  assert.ok(verifyWebhook([other, secret], headers, body));
});

test("what the library refuses is refused", () => {
  const minutes = (count: number) => new Date(Date.now() + count * 60_000);
  const headers = signed(secret);
  const without = (name: string) =>
    Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
  const cases: [string, Record<string, string>, string][] = [
    ["another secret", signed(other), body],
    ["a changed body", headers, body.replace("[]", "[1]")],
    ["a changed id", { ...headers, "Webhook-Id": "msg_2" }, body],
    [
      "a changed time",
      { ...headers, "webhook-timestamp": String(Number(headers["webhook-timestamp"]) + 1) },
      body,
    ],
    ["an old message", signed(secret, minutes(-6)), body],
    ["a message of the future", signed(secret, minutes(6)), body],
    ["no id", without("Webhook-Id"), body],
    ["no time", without("webhook-timestamp"), body],
    ["no signature", without("webhook-signature"), body],
    ["a time that is none", { ...headers, "webhook-timestamp": "now" }, body],
    [
      "another version",
      { ...headers, "webhook-signature": headers["webhook-signature"]?.replace("v1,", "v2,") ?? "" },
      body,
    ],
    ["a short signature", { ...headers, "webhook-signature": "v1,AAAA" }, body],
    ["an empty signature", { ...headers, "webhook-signature": "v1," }, body],
  ];
  for (const [name, given, text] of cases) {
    assert.throws(() => verifyWebhook(secret, given, text), WebhookVerificationError, name);
    assert.throws(() => new Webhook(secret).verify(text, given), `${name}, by the library`);
  }
  assert.throws(() => verifyWebhook("", headers, body), TypeError);
});

test("a signed message of another form is refused", () => {
  for (const text of [
    "",
    "no JSON",
    '"a text"',
    "[1]",
    "null",
    "{}",
    '{"type":5,"data":{}}',
    '{"type":"rollcall.changes","data":[]}',
    '{"type":"rollcall.changes","data":{}}',
    '{"type":"rollcall.changes","data":{"changes":[{"seq":"1"}]}}',
  ]) {
    const headers = signed(secret, new Date(), text);
    assert.throws(
      () => verifyWebhook(secret, headers, text),
      (error: Error) => {
        assert.ok(error instanceof WebhookVerificationError, `${text}: ${error}`);
        assert.match(error.message, /^The signature fits, and the message is not of Rollcall: /);
        assert.equal(error.cause, undefined);
        return true;
      },
    );
  }
  const other = '{"type":"rollcall.tomorrow","data":{"changes":5}}';
  assert.deepEqual(verifyWebhook(secret, signed(secret, new Date(), other), other), JSON.parse(other));
});

test("a clock or a tolerance without a number accepts nothing", () => {
  const headers = signed(secret);
  assert.throws(() => verifyWebhook(secret, headers, body, { now: Number.NaN }), WebhookVerificationError);
  for (const toleranceSeconds of [Number.NaN, -1]) {
    assert.throws(
      () => new WebhookVerifier(secret, { toleranceSeconds }),
      /toleranceSeconds must be a number/,
    );
  }
});

/** A receiver on this machine. */
async function receive(): Promise<{ url: string; received: Received[]; stop: () => void }> {
  const received: Received[] = [];
  const receiver = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    received.push({ headers: request.headers, body: Buffer.concat(chunks) });
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
  const stop = () => {
    receiver.closeAllConnections();
    receiver.close();
  };
  return { url, received, stop };
}

interface Received {
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** Starts the receiver of the README as a process. */
async function startReadme() {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, code = ""] = /\n## Webhooks\n\n```typescript\n(.*?)```/s.exec(readme) ?? [];
  const told = code
    .replace("rollcall-client", new URL("../src/index.js", import.meta.url).href)
    .replace("listen(8000)", 'listen(0, "127.0.0.1", function () { console.log(this.address().port); })');
  const { outputText } = ts.transpileModule(told, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  const child = spawn(process.execPath, ["--input-type=module", "--eval", outputText], {
    env: { ...process.env, ROLLCALL_WEBHOOK_SECRET: secret },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return { child, port: Number(line) };
}

test("the receiver of the README outlasts a cut connection and a large body", async () => {
  const { child, port } = await startReadme();
  try {
    const cut = connect(port, "127.0.0.1");
    cut.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart");
    await new Promise((resolve) => setTimeout(resolve, 200));
    cut.resetAndDestroy();
    await once(cut, "close");
    await new Promise((resolve) => setTimeout(resolve, 200));
    const post = async (text: string | Buffer, headers = {}) =>
      (await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: text, headers })).status;
    assert.equal(await post(body, signed(secret)), 204);
    assert.equal(await post(body, signed(other)), 401);
    assert.equal(await post(Buffer.alloc(2 * 1024 * 1024)), 413);
    assert.equal(child.exitCode, null);
  } finally {
    child.kill("SIGKILL");
  }
});

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; !(await check()); waited++) {
    assert.ok(waited < 150, what);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("messages of the real server are taken", async () => {
  const { url, received, stop } = await receive();
  const server = await Server.start();
  try {
    const made = JSON.parse(await server.tool("webhook", "create", url)) as { secret: string };
    const user = await server.scim().user("hooked");
    const ids: string[] = [];
    await until("the change of the user arrives", () => {
      for (const { headers, body: bytes } of received.splice(0)) {
        const message = verifyWebhook(made.secret, headers, bytes);
        assert.equal(message.type, "rollcall.changes");
        assert.throws(() => verifyWebhook(secret, headers, bytes), WebhookVerificationError);
        ids.push(...(message.data.changes ?? []).map((change) => change.resourceId));
      }
      return ids.includes(user);
    });
  } finally {
    server.stop();
    stop();
  }
});

test("webhooks are made, read, changed, tested, rotated and deleted", async () => {
  const { url, received, stop } = await receive();
  const server = await Server.start();
  const rollcall = server.client();
  try {
    assert.deepEqual((await rollcall.listWebhooks()).webhooks, []);
    const made = await rollcall.createWebhook({ url, includeResource: true });
    const found: string[] = [];
    for await (const webhook of rollcall.webhooks()) found.push(webhook.id);
    assert.deepEqual(found, [made.id]);
    assert.equal((await rollcall.retrieveWebhook(made.id)).includeResource, true);
    assert.equal((await rollcall.updateWebhook(made.id, { includeResource: false })).includeResource, false);
    const rotated = await rollcall.rotateWebhook(made.id, { overlapSeconds: 600 });
    assert.ok(rotated.oldSecretUntil);
    assert.equal((await rollcall.testWebhook(made.id)).state, "pending");
    await until(
      "the test is taken",
      async () => (await rollcall.retrieveWebhook(made.id)).test?.state === "taken",
    );
    const types = new Set<string>();
    for (const { headers, body: bytes } of received) {
      types.add(verifyWebhook([made.secret, rotated.secret], headers, bytes).type);
    }
    assert.ok(types.has("rollcall.test"));
    await rollcall.deleteWebhook(made.id);
    await assert.rejects(rollcall.retrieveWebhook(made.id), { name: "ProblemError", status: 404 });
  } finally {
    server.stop();
    stop();
  }
});
