// A mirror in an SQLite file that the product reads and writes at the same time.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import Database from "libsql";
import { Mirror, type SqliteDatabase, SqliteStorage, type Storage } from "../src/index.js";
import { isBusy, isPassingFailure } from "../src/storage/failures.js";
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

/** A file that is not in the mode WAL, with a table of the product. */
function productFile(name: string): { file: string; product: Database.Database } {
  const file = join(folder, name);
  const product = new Database(file);
  product.exec("CREATE TABLE notes (text TEXT)");
  product.exec("INSERT INTO notes VALUES ('a')");
  return { file, product };
}

const MODE = "PRAGMA journal_mode";
const add = (storage: Storage) =>
  storage.transaction((transaction) => transaction.run("INSERT INTO notes VALUES ('b')"));

/** A connection to a file on a file system that has no WAL. SQLite answers the mode that the file keeps. */
function withoutWal(file: string): SqliteDatabase {
  const database = new Database(file);
  const other = (sql: string) => (sql.startsWith(MODE) ? "SELECT 'delete' AS journal_mode" : sql);
  return {
    exec: (sql) => database.exec(other(sql)),
    prepare: (sql) => database.prepare(other(sql)),
  };
}

test("without WAL a COMMIT that meets a read is rolled back, and locks nobody out", async () => {
  const { file, product } = productFile("network.db");
  const storage = new SqliteStorage(withoutWal(file));
  product.exec("BEGIN");
  product.prepare("SELECT * FROM notes").all();
  await assert.rejects(add(storage), isBusy);
  assert.equal(new Database(file).prepare("SELECT * FROM notes").all().length, 1);
  product.exec("COMMIT");
  await add(storage);
  assert.equal(product.prepare("SELECT * FROM notes").all().length, 2);
});

test("while a read of the product does not end, the mirror tells of it, and then it goes on", async () => {
  const { file, product } = productFile("long.db");
  product.exec("BEGIN");
  product.prepare("SELECT * FROM notes").all();
  const errors: unknown[] = [];
  const options = { pollMs: 10, onError: (error: unknown) => errors.push(error) };
  const mirror = new Mirror(new Deployment().client(), new SqliteStorage(new Database(file)), options);
  const ending = new AbortController();
  const following = mirror.follow(ending.signal);
  for (let waited = 0; errors.length === 0 && waited < 150; waited++) await sleep(100);
  assert.ok(errors.length === 1 && isBusy(errors[0]), String(errors));
  const other = new Database(file);
  other.exec("PRAGMA busy_timeout = 10000");
  product.exec("COMMIT");
  const shown = () => other.prepare("SELECT user_name FROM rollcall_current_users").raw().all().flat();
  for (let waited = 0; waited < 100; waited++) {
    const isThere =
      other.prepare("SELECT 1 FROM sqlite_master WHERE name = 'rollcall_users'").all().length > 0;
    if (isThere && shown().length > 0) break;
    await sleep(100);
  }
  ending.abort();
  await following;
  assert.deepEqual(shown(), ["ada@example.com"]);
  assert.deepEqual(other.prepare(MODE).raw().all().flat(), ["wal"]);
});

/** Reads a file again and again, as a product with a long query. */
const READER = `
  const { workerData } = require("node:worker_threads");
  const Database = require(workerData.libsql);
  const pause = (ms) => Atomics.wait(workerData.isOver, 0, 0, ms);
  const database = new Database(workerData.file);
  database.exec("PRAGMA busy_timeout = 10000");
  pause(workerData.start);
  while (workerData.isOver[0] === 0) {
    database.exec("BEGIN");
    database.prepare("SELECT * FROM notes").all();
    pause(200);
    database.exec("COMMIT");
  }
`;

test("the mirror writes although some connection of the product always reads", async () => {
  const { file, product } = productFile("busy.db");
  const libsql = createRequire(import.meta.url).resolve("libsql");
  const isOver = new Int32Array(new SharedArrayBuffer(4));
  const workers = [0, 50, 100, 150].map(
    (start) => new Worker(READER, { eval: true, workerData: { file, libsql, isOver, start } }),
  );
  const ended = Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
  try {
    await sleep(1000);
    const storage = new SqliteStorage(new Database(file));
    for (let time = 0; time < 3; time++) await add(storage);
  } finally {
    isOver[0] = 1;
    await ended;
  }
  assert.equal(product.prepare("SELECT * FROM notes").all().length, 4);
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
