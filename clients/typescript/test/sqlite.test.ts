// A mirror in an SQLite file that the product reads and writes at the same time.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "libsql";
import { Mirror, SqliteStorage, type Storage } from "../src/index.js";
import { isPassingFailure } from "../src/storage/failures.js";
import { Deployment } from "./played.js";

let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "rollcall-sqlite-"));
});

after(() => rmSync(folder, { recursive: true }));

test("the mirror waits while the product writes to the same file", async () => {
  const file = join(folder, "product.db");
  const product = new Database(file);
  product.exec("CREATE TABLE notes (text TEXT)");
  product.exec("BEGIN IMMEDIATE");
  const storage = new SqliteStorage(new Database(file));
  const catchingUp = new Mirror(new Deployment().client(), storage).catchUp();
  let beats = 0;
  const beating = setInterval(() => beats++, 10);
  await sleep(1500);
  clearInterval(beating);
  assert.ok(beats > 10, "the mirror does not stop the program while it waits");
  product.exec("INSERT INTO notes VALUES ('a'); COMMIT");
  await catchingUp;
  const users = product.prepare("SELECT user_name FROM rollcall_current_users").raw().all();
  assert.deepEqual(users.flat(), ["ada@example.com"]);
  assert.deepEqual(product.prepare("PRAGMA journal_mode").raw().all().flat(), ["wal"]);
});

test("the product reads while the mirror writes", async () => {
  const file = join(folder, "reads.db");
  const storage = new SqliteStorage(new Database(file));
  await new Mirror(new Deployment().client(), storage).catchUp();
  const product = new Database(file);
  await storage.transaction(async (transaction) => {
    await transaction.run("DELETE FROM rollcall_users");
    assert.equal(product.prepare("SELECT * FROM rollcall_users").raw().all().length, 1);
  });
});

/** A storage whose transactions fail some times first. */
function failing(errors: unknown[]): Storage {
  const storage = new SqliteStorage(new Database(":memory:"));
  return {
    transaction: async (work) => {
      const error = errors.shift();
      if (error !== undefined) throw error;
      return storage.transaction(work);
    },
  };
}

test("follow outlasts failures of the database that may pass, and ends with others", async () => {
  const busy = Object.assign(new Error("database is locked"), { code: "SQLITE_BUSY" });
  const refused = Object.assign(new AggregateError([]), { code: "ECONNREFUSED" });
  const deployment = new Deployment();
  const seen: unknown[] = [];
  const options = { pollMs: 10, onError: (error: unknown) => seen.push(error) };
  const ending = AbortSignal.timeout(1000);
  await new Mirror(deployment.client(), failing([busy, refused]), options).follow(ending);
  assert.deepEqual(seen, [busy, refused]);
  assert.equal(deployment.count("GET /tenants"), 1);
  const full = Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
  await assert.rejects(new Mirror(deployment.client(), failing([full]), options).follow(), full);
});

test("which failures of a database may pass", () => {
  const coded = (code: string) => Object.assign(new Error("failed"), { code });
  // As node:sqlite says it: SQLITE_BUSY, and SQLITE_BUSY_SNAPSHOT.
  for (const errcode of [5, 517]) {
    assert.ok(isPassingFailure(Object.assign(coded("ERR_SQLITE_ERROR"), { errcode })));
  }
  for (const code of [
    "SQLITE_BUSY_SNAPSHOT",
    "ECONNRESET",
    "57P01",
    "57P03",
    "08006",
    "40001",
    "40P01",
    "53300",
  ]) {
    assert.ok(isPassingFailure(coded(code)), code);
  }
  assert.ok(isPassingFailure(new Error("Connection terminated unexpectedly")));
  for (const code of [
    "SQLITE_FULL",
    "SQLITE_CONSTRAINT",
    "28P01",
    "3D000",
    "42501",
    "42P01",
    "23505",
    "57P04",
  ]) {
    assert.ok(!isPassingFailure(coded(code)), code);
  }
  assert.ok(!isPassingFailure(Object.assign(coded("ERR_SQLITE_ERROR"), { errcode: 13 })));
  for (const other of [new TypeError("x is not a function"), undefined, null, "text"]) {
    assert.ok(!isPassingFailure(other));
  }
});
