// How often the mirror asks while tenants wait for their second snapshot.

import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "libsql";
import { Mirror, SqliteStorage } from "../src/index.js";
import { Deployment, TENANT } from "./played.js";

/** A mirror that has caught up, and tenants that it is to read again. */
async function waiting(count: number) {
  const deployment = new Deployment();
  const database = new Database(":memory:");
  const mirror = new Mirror(deployment.client(), new SqliteStorage(database));
  await mirror.catchUp();
  const note = (incarnation: string, seq: number, taken: number) =>
    database
      .prepare("INSERT OR REPLACE INTO rollcall_resyncs VALUES (?, ?, ?, ?)")
      .run(incarnation, TENANT.tenant, seq, taken);
  for (let number = 0; number < count; number++) note(`gone${number}`, 100, 1);
  deployment.requests.length = 0;
  const noted = () => database.prepare("SELECT incarnation, taken FROM rollcall_resyncs").raw().all();
  return { deployment, mirror, note, noted };
}

/** A snapshot of now begins before the change with this number. */
function beginsBefore(deployment: Deployment, seq: number): void {
  const about = { type: "key.created", resourceType: "Key", resourceId: "key_1", version: 1 };
  const changes = [{ ...about, seq, tenant: TENANT.tenant, incarnation: TENANT.incarnation }];
  deployment.answer = (request, query) =>
    request === "GET /changes" && query.get("limit") === "1"
      ? { body: { changes, next: "next", more: true } }
      : undefined;
}

test("a mirror asks once for all tenants, and then not for ten seconds", async () => {
  const { deployment, mirror } = await waiting(40);
  beginsBefore(deployment, 50);
  for (let poll = 0; poll < 5; poll++) await mirror.catchUp();
  assert.equal(deployment.count("GET /status"), 1);
  assert.equal(deployment.count("GET /changes"), 5 + 1);
});

test("a new tenant.resync is looked at immediately", async () => {
  const { deployment, mirror, note, noted } = await waiting(0);
  beginsBefore(deployment, 50);
  note("other", 100, 1);
  await mirror.catchUp();
  note(TENANT.incarnation, 101, 0);
  await mirror.catchUp();
  assert.equal(deployment.count("GET /tenants/acme/Users"), 1);
  assert.deepEqual(noted().sort(), [
    [TENANT.incarnation, 1],
    ["other", 1],
  ]);
  for (let poll = 0; poll < 3; poll++) await mirror.catchUp();
  assert.equal(deployment.count("GET /status"), 2);
});

test("after a failure the mirror looks again without the pause", async () => {
  const { deployment, mirror, note, noted } = await waiting(0);
  note(TENANT.incarnation, 100, 0);
  deployment.answer = (request) => (request.endsWith("/Users") ? { status: 403 } : undefined);
  await assert.rejects(mirror.catchUp(), { status: 403 });
  deployment.answer = () => undefined;
  await mirror.catchUp();
  assert.deepEqual(noted(), []);
});
