// Mirrors that start on one database at the same time, and snapshots that do not end well.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "libsql";
import { Mirror, ProblemError, SqliteStorage } from "../src/index.js";
import { readTime, SnapshotTaken } from "../src/mirror/lease.js";
import { Deployment } from "./played.js";

let folder: string;
let files = 0;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "rollcall-lease-"));
});

after(() => rmSync(folder, { recursive: true }));

/** Some mirrors of one new file, each with a connection of its own. */
function mirrorsOf(deployment: Deployment, count: number) {
  const file = join(folder, `${files++}.db`);
  const open = (of: Deployment, onError = (_: unknown) => {}) =>
    new Mirror(of.client(), new SqliteStorage(new Database(file)), { pollMs: 20, onError });
  const database = new Database(file);
  database.exec("PRAGMA busy_timeout = 5000");
  const read = (sql: string) => database.prepare(sql).raw().all().flat();
  return {
    mirrors: Array.from({ length: count }, () => open(deployment)),
    open,
    read,
    run: (sql: string) => void database.exec(sql),
    staging: () => read("SELECT name FROM sqlite_master WHERE name LIKE 'rollcall_staging%'"),
    state: () => read("SELECT position, staging FROM rollcall_mirror_state"),
  };
}

test("of mirrors that start at once, one takes the snapshot and the others wait for it", async () => {
  const deployment = new Deployment();
  deployment.delayOf = () => 400;
  const { mirrors, state, staging, read } = mirrorsOf(deployment, 3);
  // The snapshot takes longer than mirrors pause, and longer than a renewal of the lease.
  await Promise.all(mirrors.map((mirror) => mirror.catchUp(AbortSignal.timeout(20_000))));
  assert.equal(deployment.count("GET /tenants"), 1);
  assert.deepEqual(state(), ["snapshot", ""]);
  assert.deepEqual(staging(), []);
  assert.deepEqual(read("SELECT user_name FROM rollcall_current_users"), ["ada@example.com"]);
});

test("a lost position leads to one snapshot of several mirrors", async () => {
  const deployment = new Deployment();
  const { mirrors, run, state } = mirrorsOf(deployment, 2);
  for (const mirror of mirrors) await mirror.catchUp();
  run("UPDATE rollcall_mirror_state SET position = 'lost'");
  deployment.delayOf = () => 200;
  deployment.answer = (_, query) => (query.get("after") === "lost" ? { status: 410 } : undefined);
  await Promise.all(mirrors.map((mirror) => mirror.catchUp(AbortSignal.timeout(20_000))));
  assert.equal(deployment.count("GET /tenants"), 2);
  assert.deepEqual(state(), ["snapshot", ""]);
});

test("a mirror keeps its lease while an answer takes longer than the lease", async () => {
  const [deployment, slow] = [new Deployment(), new Deployment()];
  const { mirrors, open, state } = mirrorsOf(deployment, 1);
  slow.delayOf = (request) => (request === "GET /status" ? 13_000 : 0);
  const holding = open(slow).catchUp();
  await sleep(300);
  await Promise.all([holding, mirrors[0]?.catchUp()]);
  assert.equal(deployment.count("GET /tenants"), 0);
  assert.deepEqual(state(), ["snapshot", ""]);
});

test("a lease that is not renewed is taken over, and the other mirror goes on from there", async () => {
  const deployment = new Deployment();
  const { mirrors, run, state } = mirrorsOf(deployment, 1);
  const [mirror] = mirrors;
  let isTakenOver = false;
  deployment.answer = (request) => {
    if (request !== "GET /tenants" || isTakenOver) return undefined;
    isTakenOver = true;
    // Another mirror, whose process dies.
    run("UPDATE rollcall_mirror_state SET staging = 'other ' || (strftime('%s', 'now') - 8) || '000'");
    return undefined;
  };
  await mirror?.catchUp(AbortSignal.timeout(20_000));
  assert.equal(deployment.count("GET /tenants"), 2);
  assert.deepEqual(state(), ["snapshot", ""]);
});

test("a mirror that keeps losing its lease tells of it, and pauses", async () => {
  const deployment = new Deployment();
  const { open, run, state } = mirrorsOf(deployment, 0);
  const mirror = open(deployment);
  let left = 6;
  deployment.answer = (request) => {
    if (request === "GET /tenants" && left-- > 0) {
      run("UPDATE rollcall_mirror_state SET staging = 'other ' || (strftime('%s', 'now') - 60) || '000'");
    }
    return undefined;
  };
  await assert.rejects(mirror.catchUp(), SnapshotTaken);
  assert.equal(left, 2);
  left = 6;
  const [told, ending] = [[] as unknown[], new AbortController()];
  const heard = open(deployment, (error) => told.push(error)).follow(ending.signal);
  while (state()[0] !== "snapshot") await sleep(20);
  ending.abort();
  await heard;
  assert.ok(told.length === 1 && told[0] instanceof SnapshotTaken);
});

test("the staging tables go when a snapshot fails, and when its mirror is stopped", async () => {
  const deployment = new Deployment();
  const { mirrors, state, staging } = mirrorsOf(deployment, 2);
  deployment.answer = (request) =>
    request.endsWith("/roles") ? { status: 401, body: { detail: "Who?" } } : undefined;
  await assert.rejects(mirrors[0]?.catchUp() ?? Promise.resolve(), ProblemError);
  assert.deepEqual(staging(), []);
  assert.deepEqual(state(), ["", ""]);
  const ending = new AbortController();
  deployment.answer = (request) => {
    if (request.endsWith("/roles")) ending.abort();
    return undefined;
  };
  await mirrors[1]?.follow(ending.signal);
  assert.deepEqual(staging(), []);
});

test("the staging tables go when the tenant that is read again is gone", async () => {
  const deployment = new Deployment();
  const { mirrors, run, staging } = mirrorsOf(deployment, 1);
  await mirrors[0]?.catchUp();
  run("INSERT INTO rollcall_resyncs VALUES ('i1', 'acme', 5, 0)");
  let isGone = false;
  deployment.answer = (request) => {
    isGone ||= request.endsWith("/Users");
    return isGone && request.includes("acme") ? { status: 404 } : undefined;
  };
  await mirrors[0]?.catchUp();
  assert.ok(isGone);
  assert.deepEqual(staging(), []);
});

test("a start drops the staging tables of a mirror that has died, and not those of a live one", async () => {
  const deployment = new Deployment();
  const { mirrors, run, staging, state } = mirrorsOf(deployment, 2);
  await mirrors[0]?.catchUp();
  run("CREATE TABLE rollcall_staging_users (id TEXT)");
  run("UPDATE rollcall_mirror_state SET staging = 'other ' || strftime('%s', 'now') || '000'");
  await mirrors[1]?.catchUp();
  assert.deepEqual(staging(), ["rollcall_staging_users"]);
  for (const died of ["'other ' || (strftime('%s', 'now') - 60) || '000'", "'of-an-earlier-version'"]) {
    run("CREATE TABLE IF NOT EXISTS rollcall_staging_users (id TEXT)");
    run(`UPDATE rollcall_mirror_state SET staging = ${died}`);
    await mirrors[1]?.catchUp();
    assert.deepEqual(staging(), [], died);
    assert.deepEqual(state(), ["snapshot", ""]);
  }
});

test("times of databases are read", () => {
  const at = Date.UTC(2026, 10, 26, 12, 30, 0);
  const texts = ["2026-11-26 12:30:00", "2026-11-26 12:30:00.000000+00", "2026-11-26 18:00:00+05:30"];
  for (const value of [...texts, "2026-11-26T12:30:00.000Z", new Date(at)]) assert.equal(readTime(value), at);
  assert.throws(() => readTime("today"), /CURRENT_TIMESTAMP is not a time: today/);
});
