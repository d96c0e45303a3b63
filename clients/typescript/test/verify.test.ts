// Webhook verification: messages that the library of Standard Webhooks signs, and those of the real server.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { Webhook } from "standardwebhooks";
import { verifyWebhook, WebhookVerificationError } from "../src/index.js";
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

test("messages of the real server are taken", async () => {
  const received: { headers: IncomingHttpHeaders; body: Buffer }[] = [];
  const receiver = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    received.push({ headers: request.headers, body: Buffer.concat(chunks) });
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  const server = await Server.start();
  try {
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
    const made = JSON.parse(await server.tool("webhook", "create", url)) as { secret: string };
    const user = await server.scim().user("hooked");
    const ids: string[] = [];
    for (let waited = 0; waited < 100 && !ids.includes(user); waited++) {
      for (const { headers, body: bytes } of received.splice(0)) {
        const message = verifyWebhook(made.secret, headers, bytes);
        assert.equal(message.type, "rollcall.changes");
        assert.throws(() => verifyWebhook(secret, headers, bytes), WebhookVerificationError);
        ids.push(...(message.data.changes ?? []).map((change) => change.resourceId));
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(ids.includes(user), "the user's change arrived");
  } finally {
    server.stop();
    receiver.closeAllConnections();
    receiver.close();
  }
});
