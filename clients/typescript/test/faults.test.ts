// A proxy in front of the real server: lost connections, refusals, and a server that is newer than the client.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import Database from "libsql";
import { ConnectionError, dump, Mirror, ProblemError, Rollcall, SqliteStorage } from "../src/index.js";
import { FaultyProxy } from "./proxy.js";
import { Server, truth } from "./server.js";

let server: Server;
let proxy: FaultyProxy;
let rollcall: Rollcall;

before(async () => {
  server = await Server.start();
  proxy = await FaultyProxy.start(server.printed.app_url);
  rollcall = server.client(proxy.url);
});

afterEach(() => {
  proxy.requests.length = 0;
  proxy.fault = () => undefined;
  proxy.rewrite = (_, body) => body;
});

after(() => {
  proxy.stop();
  server.stop();
});

test("reads are repeated after lost connections and failures", async () => {
  proxy.fault = (_, number) => (["lose", "lose answer", { status: 502 }, { status: 500 }] as const)[number];
  assert.ok(await rollcall.status());
  assert.equal(proxy.requests.length, 5);
});

test("writes are not repeated after a lost answer, since they may have been carried out", async () => {
  proxy.fault = () => "lose answer";
  await assert.rejects(rollcall.createKey("demo", { name: "once" }), ConnectionError);
  assert.equal(proxy.requests.length, 1);
  const keys = await server.client().listKeys("demo");
  assert.equal(keys.filter((key) => key.name === "once").length, 1);
  proxy.requests.length = 0;
  for (const status of [500, 503]) {
    proxy.requests.length = 0;
    proxy.fault = () => ({ status, headers: { "retry-after": "0" } });
    await assert.rejects(rollcall.createKey("demo", { name: "never" }), { status });
    assert.equal(proxy.requests.length, 1);
  }
});

test("429 is repeated after Retry-After, also a POST, and 503 unless it is one", async () => {
  const create = () => rollcall.createKey("demo", { name: "repeated" });
  const update = () => rollcall.updateTenant("demo", { retentionDays: 30 });
  for (const retryAfter of ["1", new Date(Date.now() + 2000).toUTCString()]) {
    for (const [status, send] of [
      [429, create],
      [503, update],
    ] as const) {
      proxy.requests.length = 0;
      const fault = { status, headers: { "retry-after": retryAfter } };
      proxy.fault = (_, number) => (number === 0 ? fault : undefined);
      const start = Date.now();
      await send();
      assert.equal(proxy.requests.length, 2);
      if (retryAfter === "1") assert.ok(Date.now() - start >= 990, "it waited");
    }
  }
});

test("after all attempts, or a long Retry-After, the caller gets the error", async () => {
  proxy.fault = () => "lose";
  await assert.rejects(rollcall.status(), (error: ConnectionError) => {
    assert.ok(error instanceof ConnectionError);
    assert.match(error.message, /GET \/status was sent 5 times .* Check that http:/);
    return true;
  });
  assert.equal(proxy.requests.length, 5);
  proxy.requests.length = 0;
  proxy.fault = () => ({ status: 429, headers: { "retry-after": "3600" }, body: "<html>slow</html>" });
  await assert.rejects(rollcall.status(), (error: ProblemError) => {
    assert.ok(error instanceof ProblemError);
    assert.equal(error.status, 429);
    assert.equal(error.type, "about:blank");
    return true;
  });
  assert.equal(proxy.requests.length, 1);
});

test("a request ends with its signal or its time", async () => {
  proxy.fault = () => ({ status: 503 });
  const ending = new AbortController();
  setTimeout(() => ending.abort(new Error("ended")), 50);
  await assert.rejects(rollcall.status({ signal: ending.signal }), { message: "ended" });
  const { application_key: key } = server.printed;
  proxy.fault = () => undefined;
  const hasty = new Rollcall({ url: proxy.url, key, timeoutMs: 1, attempts: 1 });
  await assert.rejects(hasty.status(), /no answer within 1 ms/);
});

test("a mirror behind a bad network converges", async () => {
  await server.scim().group("Shaky", await server.scim().users("shaky", 5));
  const faults = ["lose", "lose answer", { status: 503, headers: { "retry-after": "0" } }] as const;
  proxy.fault = (_, number) => (number % 2 === 0 ? faults[(number / 2) % 3] : undefined);
  const storage = new SqliteStorage(new Database(":memory:"));
  await new Mirror(rollcall, storage).catchUp();
  assert.equal(await dump(storage), await truth(server.client()));
});

test("fields and types of a newer server are ignored", async () => {
  proxy.rewrite = (request, body) => {
    if (!request.startsWith("GET /changes")) return { ...body, newField: [1] };
    const changes = (body.changes as object[]).map((change) => ({ ...change, newField: { deep: true } }));
    const planet = {
      seq: 0,
      type: "planet.moved",
      resourceType: "Planet",
      resourceId: "p",
      tenant: "demo",
      incarnation: "x",
      version: 1,
    };
    const last = (changes.at(-1) as { seq?: number } | undefined)?.seq ?? 0;
    return { ...body, changes: [...changes, { ...planet, seq: last }], newField: "x" };
  };
  const storage = new SqliteStorage(new Database(":memory:"));
  const mirror = new Mirror(rollcall, storage);
  await mirror.catchUp();
  await server.scim().user("newer");
  await eventually(async () => {
    await mirror.catchUp();
    assert.equal(await dump(storage), await truth(server.client()));
  });
});

test("tenant.resync takes the snapshot of the tenant again, and keeps its hidden accounts", async () => {
  const scim = server.scim();
  const [hidden = "", leaver = "", stays = ""] = await scim.users("resync", 3);
  const group = await scim.group("Resync", [leaver, stays]);
  const database = new Database(":memory:");
  const storage = new SqliteStorage(database);
  const mirror = new Mirror(rollcall, storage);
  await eventually(async () => {
    await mirror.catchUp();
    assert.equal(await dump(storage), await truth(server.client()));
  });
  await scim.remove(`/Users/${hidden}`);
  // The mirror does not hear of this change, as if it had been written without the feed.
  const before = Number((await server.client().status()).newest?.seq);
  await scim.members(group, "remove", [leaver]);
  let isHiding = true;
  proxy.rewrite = (request, body) => {
    if (!request.startsWith("GET /changes")) return body;
    const changes = body.changes as { seq: number; type: string; resourceId: string }[];
    const shown = changes.filter(
      (change) => !(isHiding && change.seq > before && change.resourceId === group),
    );
    return { ...body, changes: shown.map(asResync) };
  };
  const asResync = <T extends { type: string }>(change: T): T =>
    change.type === "tenant.updated" ? { ...change, type: "tenant.resync" } : change;
  await eventually(async () => {
    await mirror.catchUp();
    assert.equal(column(database, "SELECT hidden FROM rollcall_users WHERE id = ?", hidden), 1);
  });
  const next = await scim.user("resync-next");
  await eventually(async () => {
    await mirror.catchUp();
    assert.equal(column(database, "SELECT id FROM rollcall_users WHERE id = ?", next), next);
  });
  assert.notEqual(await dump(storage), await truth(server.client()), "the mirror is wrong");
  isHiding = false;
  await server.client().updateTenant("demo", { retentionDays: 11 });
  await eventually(async () => {
    await mirror.catchUp();
    assert.equal(await dump(storage), await truth(server.client()));
  });
  assert.equal(column(database, "SELECT hidden FROM rollcall_users WHERE id = ?", hidden), 1);
  assert.equal(
    column(database, "SELECT taken FROM rollcall_resyncs"),
    1,
    "a second one follows a minute later",
  );
  // A minute later: the position of a snapshot has passed the change.
  proxy.rewrite = (request, body) => {
    if (!request.startsWith("GET /status")) return body;
    return { ...body, snapshot: (body.newest as { position: string }).position };
  };
  // Another mirror looks immediately, this one only every ten seconds.
  await new Mirror(rollcall, storage).catchUp();
  assert.equal(column(database, "SELECT taken FROM rollcall_resyncs"), undefined);
  assert.equal(await dump(storage), await truth(server.client()));
});

test("what plain reads do not show yet is told by the feed, after a snapshot and after a resync", async () => {
  const user = await server.scim().user("unseen");
  let asResync = false;
  proxy.rewrite = (request, body) => {
    if (request.includes("/Users?")) {
      const seen = (body.Resources as { id: string }[]).filter(({ id }) => id !== user);
      return { ...body, Resources: seen };
    }
    if (!request.startsWith("GET /changes") || !asResync) return body;
    const changes = (body.changes as { type: string }[]).map((change) =>
      change.type === "tenant.updated" ? { ...change, type: "tenant.resync" } : change,
    );
    return { ...body, changes };
  };
  const database = new Database(":memory:");
  const storage = new SqliteStorage(database);
  const mirror = new Mirror(rollcall, storage);
  await eventually(async () => {
    await mirror.catchUp();
    assert.equal(await dump(storage), await truth(server.client()));
  });
  asResync = true;
  await server.client().updateTenant("demo", { retentionDays: 12 });
  await eventually(async () => {
    await mirror.catchUp();
    assert.equal(column(database, "SELECT taken FROM rollcall_resyncs"), 1);
  });
  assert.equal(await dump(storage), await truth(server.client()));
});

function column(database: Database.Database, sql: string, ...values: string[]): unknown {
  return database
    .prepare(sql)
    .raw()
    .all(...values)
    .flat()[0];
}

async function eventually(check: () => Promise<void>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await check();
    } catch (error) {
      if (attempt === 40) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}
