// Several mirrors on one PostgreSQL, and a PostgreSQL that is restarted.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Mirror, PostgresStorage } from "../src/index.js";
import { Deployment } from "./played.js";
import { NOT_INSTALLED, Postgresql } from "./postgresql.js";

const options = { skip: NOT_INSTALLED };
let postgresql: Postgresql;

before(async () => {
  if (!NOT_INSTALLED) postgresql = await Postgresql.start();
});

after(() => postgresql?.stop());

/** Mirrors with a pool each. Nobody listens to the events of the pools. */
async function replicas(count: number) {
  const database = await postgresql.create();
  const deployment = new Deployment();
  const errors: unknown[] = [];
  const pools = Array.from({ length: count }, () => postgresql.pool(database));
  const mirrors = pools.map(
    (pool) =>
      new Mirror(deployment.client(), new PostgresStorage(pool), {
        pollMs: 20,
        onError: (error) => errors.push(error),
      }),
  );
  const close = () => Promise.all(pools.map((pool) => pool.end()));
  return { database, deployment, errors, mirrors, pools, close };
}

test("mirrors that start at once on a new database make the tables once", options, async () => {
  for (let round = 0; round < 3; round++) {
    const { mirrors, database, deployment, close } = await replicas(6);
    await Promise.all(mirrors.map((mirror) => mirror.catchUp()));
    await close();
    assert.equal(deployment.count("GET /tenants"), 1);
    const rows = await postgresql.query(database, "SELECT position, staging FROM rollcall_mirror_state");
    assert.deepEqual(rows, [["snapshot", ""]]);
  }
});

test("of mirrors with slow answers, one takes the snapshot and the others wait for it", options, async () => {
  const { mirrors, deployment, database, errors, close } = await replicas(3);
  deployment.delayOf = () => 400;
  const ending = new AbortController();
  const following = mirrors.map((mirror) => mirror.follow(ending.signal));
  const users = "SELECT user_name FROM rollcall_current_users";
  const read = () => postgresql.query(database, users).catch(() => []);
  for (let waited = 0; waited < 100 && (await read()).length === 0; waited++) await sleep(100);
  await sleep(1000);
  ending.abort();
  await Promise.all(following);
  await close();
  assert.deepEqual(await read(), [["ada@example.com"]]);
  assert.equal(deployment.count("GET /tenants"), 1);
  assert.deepEqual(errors, []);
  const tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'rollcall_staging%'";
  assert.deepEqual(await postgresql.query(database, tables), []);
});

test("a dead mirror's lease is taken over by the clock of PostgreSQL", options, async () => {
  const { mirrors, deployment, database, close } = await replicas(1);
  const held = `UPDATE rollcall_mirror_state
    SET position = '', staging = 'other ' || floor(extract(epoch FROM now()) * 1000 - 8000)`;
  await mirrors[0]?.catchUp();
  await postgresql.query(database, held);
  const start = performance.now();
  await mirrors[0]?.catchUp();
  await close();
  assert.equal(deployment.count("GET /tenants"), 2);
  const waited = performance.now() - start;
  assert.ok(waited > 1500 && waited < 6000, `${waited} ms`);
});

test("a mirror starts on a database with another DateStyle", options, async () => {
  const { mirrors, database, deployment, close } = await replicas(1);
  await postgresql.query("postgres", `ALTER DATABASE ${database} SET datestyle = 'SQL, DMY'`);
  await postgresql.query("postgres", `ALTER DATABASE ${database} SET timezone = 'America/New_York'`);
  await mirrors[0]?.catchUp();
  await close();
  assert.equal(deployment.count("GET /tenants"), 1);
});

test("follow outlasts cut connections and a restart of PostgreSQL", options, async () => {
  const { mirrors, deployment, database, errors, pools, close } = await replicas(1);
  const ending = new AbortController();
  const following = mirrors[0]?.follow(ending.signal);
  // If the test fails, the mirror ends too.
  after(() => ending.abort());
  await sleep(500);
  const cut = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = '${database}' AND pid <> pg_backend_pid()`;
  for (let time = 0; time < 5; time++) {
    await postgresql.query("postgres", cut);
    await sleep(50);
  }
  await postgresql.halt();
  await sleep(500);
  assert.ok(errors.length > 0);
  await postgresql.run();
  const before = deployment.requests.length;
  await sleep(500);
  assert.ok(deployment.requests.length > before, "it goes on");
  ending.abort();
  await following;
  // A connection that is lost while a transaction waits between two statements.
  const [pool] = pools;
  assert.ok(pool);
  const waiting = new PostgresStorage(pool).transaction(async (transaction) => {
    await transaction.all("SELECT 1");
    await postgresql.query("postgres", cut);
    await sleep(200);
    await transaction.all("SELECT 1");
  });
  await assert.rejects(waiting);
  assert.equal(pool.totalCount, 0, "the connection is not used again");
  await close();
});
