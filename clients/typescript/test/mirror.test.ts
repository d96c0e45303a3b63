// The mirror in SQLite beside a real server: snapshot, feed, kills, lost positions.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Database from "libsql";
import {
  ConnectionError,
  dump,
  LaterTables,
  Mirror,
  Rollcall,
  SqliteStorage,
  userNameKey,
} from "../src/index.js";
import { SCHEMA, SCHEMA_VERSION } from "../src/mirror/schema.js";
import { type Scim, Server, truth } from "./server.js";

const TEST_DATA = fileURLToPath(new URL("../../../test-data/", import.meta.url));
const COMMAND = fileURLToPath(new URL("../src/command.js", import.meta.url));

let server: Server;
let rollcall: Rollcall;
let scim: Scim;
let folder: string;

before(async () => {
  server = await Server.start();
  rollcall = server.client();
  scim = server.scim();
  folder = mkdtempSync(join(tmpdir(), "rollcall-mirror-"));
});

after(() => {
  server.stop();
  rmSync(folder, { recursive: true });
});

function open(file = ":memory:") {
  const database = new Database(file);
  const storage = new SqliteStorage(database);
  return { database, storage, mirror: new Mirror(rollcall, storage) };
}

/** Waits until the mirror shows what the API answers. */
async function converges(catchUp: () => Promise<string>): Promise<void> {
  let [shown, expected] = ["", ""];
  for (let attempt = 0; attempt < 40; attempt++) {
    shown = await catchUp();
    expected = await truth(rollcall);
    if (shown === expected) return;
    await sleep(250);
  }
  assert.deepEqual(JSON.parse(shown), JSON.parse(expected));
}

/** Starts the command on a file. */
function run(file: string, ...args: string[]) {
  const env = {
    ...process.env,
    ROLLCALL_APP_URL: server.printed.app_url,
    ROLLCALL_APPLICATION_KEY: server.printed.application_key,
  };
  const child = spawn(process.execPath, [COMMAND, "--sqlite", join(folder, file), ...args], { env });
  let [out, errors] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += chunk));
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk));
  const ended = new Promise<string>((resolve, reject) => {
    child.once("close", (code, signal) => {
      if (code === 0 || signal === "SIGKILL") resolve(out);
      else reject(new Error(`rollcall-mirror ended with ${code ?? signal}: ${errors}`));
    });
  });
  return { child, ended };
}

/** Work of an identity provider: people come, change and leave, groups change by few and by many. */
async function work(name: string, rounds: number): Promise<void> {
  const ids = await scim.users(name, 60);
  const some = (first: number, count: number) =>
    Array.from({ length: count }, (_, at) => ids[(first + at) % ids.length] ?? "");
  const [everyone = "", inner] = [
    await scim.group(`${name} everyone`, ids),
    await scim.group(`${name} inner`, []),
  ];
  await scim.members(everyone, "add", [inner]);
  for (let round = 0; round < rounds; round++) {
    const leaver = await scim.user(`${name}-leaver${round}`);
    const team = await scim.group(`${name} team ${round}`, [leaver, ...some(round, 1)]);
    await rollcall.replaceAssignments("demo", team, [{ team: everyone, role: `role${round % 3}` }]);
    await scim.members(team, "add", some(round * 7, 55));
    await scim.members(team, "remove", some(round * 7 + 3, 20));
    await scim.patch(`/Users/${some(round, 1)[0]}`, "replace", "displayName", `Name ${round}`);
    await scim.active(some(round * 5, 1)[0] ?? "", round % 2 === 0);
    await scim.remove(`/Users/${leaver}`);
    if (round % 3 === 2) await scim.remove(`/Groups/${team}`);
  }
  await scim.remove(`/Groups/${inner}`);
}

test("a hidden account stays in the tables, comes back, and is erased when it is purged", async () => {
  const { database, storage, mirror } = open();
  const user = await scim.user("hidden");
  const group = await scim.group("Hidden", [user]);
  await mirror.catchUp();
  const row = () =>
    database.prepare("SELECT active, hidden, user_name FROM rollcall_users WHERE id = ?").all(user);
  const until = async (expected: unknown[]) => {
    for (let attempt = 0; attempt < 40 && JSON.stringify(row()) !== JSON.stringify(expected); attempt++) {
      await sleep(100);
      await mirror.catchUp();
    }
    assert.deepEqual(row(), expected);
    await converges(async () => {
      await mirror.catchUp();
      return dump(storage);
    });
  };
  // Renamed and deleted before the mirror looks again: the state of the first change is null, too.
  await scim.patch(`/Users/${user}`, "replace", "displayName", "Another name");
  await scim.remove(`/Users/${user}`);
  await until([{ active: 0, hidden: 1, user_name: "hidden@example.com" }]);
  const members = "SELECT user_id FROM rollcall_current_members WHERE group_id = ?";
  assert.deepEqual(database.prepare(members).all(group), []);
  await server.tool("user", "restore", "demo", user);
  await until([{ active: 1, hidden: 0, user_name: "hidden@example.com" }]);
  await scim.remove(`/Users/${user}`);
  await server.tool("user", "purge", "demo", user, "--yes");
  await until([]);
});

test("a change of a role changes what its users may do", async () => {
  const { database, storage, mirror } = open();
  const user = await scim.user("payer");
  const team = await scim.group("Payers", []);
  const shows = async (expected: string[]) => {
    await converges(async () => {
      await mirror.catchUp();
      return dump(storage);
    });
    const rows = database.prepare("SELECT role FROM rollcall_current_roles WHERE user_id = ?").all(user);
    assert.deepEqual(
      rows,
      expected.map((role) => ({ role })),
    );
  };
  const grants = (role: string) => [{ team, role }];
  await rollcall.createRole("demo", { id: "Billing", displayName: "Billing", grants: grants("payer") });
  await rollcall.createEntitlement("demo", { id: "seat", displayName: "Seat", type: "license" });
  await scim.patch(`/Users/${user}`, "replace", "roles", [{ value: "bILLing" }, { value: "unknown" }]);
  await shows(["payer"]);
  await rollcall.updateRole("demo", "Billing", { grants: grants("owner") });
  await shows(["owner"]);
  await rollcall.deleteRole("demo", "Billing");
  await rollcall.deleteEntitlement("demo", "seat");
  await shows([]);
});

for (const old of ["python-2.sql", "typescript-2.sql", "both-3.sql"]) {
  test(`tables of an earlier version stay until a snapshot replaces them: ${old}`, async () => {
    const { database, storage, mirror } = open();
    database.exec(readFileSync(`${TEST_DATA}${old}`, "utf8"));
    const users = () => database.prepare("SELECT user_name FROM rollcall_users").raw().all().flat();
    await assert.rejects(dump(storage), /earlier version/);
    assert.deepEqual(users(), ["gone@example.com"]);
    const failing = new Mirror(
      new Rollcall({ url: "http://127.0.0.1:9/", key: "rca_x", attempts: 1 }),
      storage,
    );
    await assert.rejects(failing.catchUp(), ConnectionError);
    assert.deepEqual(users(), ["gone@example.com"]);
    await converges(async () => {
      await mirror.catchUp();
      return dump(storage);
    });
    assert.ok(!users().includes("gone@example.com"));
    const shape = (of: Database.Database) =>
      of.prepare("SELECT name, sql FROM sqlite_master WHERE name LIKE 'rollcall%' ORDER BY name").all();
    const fresh = open();
    await assert.doesNotReject(dump(fresh.storage));
    assert.deepEqual(shape(database), shape(fresh.database));
    const roots = database.prepare("SELECT tenant, root_team FROM rollcall_tenants").raw().all();
    const tenants: unknown[] = [];
    for await (const { tenant, rootTeam } of rollcall.tenants()) tenants.push([tenant, rootTeam]);
    assert.deepEqual(roots, tenants);
  });
}

test("tables of a later version are left alone", async () => {
  const { database, storage, mirror } = open();
  await mirror.catchUp();
  database.exec("UPDATE rollcall_mirror_state SET schema_version = schema_version + 1");
  const another = new Mirror(rollcall, storage);
  for (const use of [() => mirror.catchUp(), () => another.follow(), () => dump(storage)]) {
    await assert.rejects(use(), LaterTables);
  }
});

test("the schema is that of the client for Python", () => {
  const python = `${TEST_DATA}../python/src/rollcall_client/mirror/`;
  assert.equal(SCHEMA, readFileSync(`${python}schema.sql`, "utf8"));
  const [, version] = /^SCHEMA_VERSION = (\d+)$/m.exec(readFileSync(`${python}schema.py`, "utf8")) ?? [];
  assert.equal(SCHEMA_VERSION, Number(version));
});

test("the columns answer who this is and who administers", async () => {
  const user = await scim.user("Mixed.Case");
  await scim.patch(`/Users/${user}`, "replace", "externalId", "00u1");
  const outer = await scim.group("Outer", [user]);
  await scim.patch(`/Groups/${outer}`, "replace", "externalId", "g1");
  const inner = await scim.group("Inner of outer", []);
  await scim.members(outer, "add", [inner]);
  const { rootTeam } = await rollcall.retrieveTenant("demo");
  await rollcall.replaceAssignments("demo", outer, [{ team: rootTeam ?? "", role: "admin" }]);
  const { database, storage, mirror } = open();
  await converges(async () => {
    await mirror.catchUp();
    return dump(storage);
  });
  const find = (sql: string, ...values: string[]) =>
    database
      .prepare(sql)
      .raw()
      .all(...values)
      .flat();
  const users = "SELECT id FROM rollcall_current_users WHERE tenant = 'demo' AND";
  assert.deepEqual(find(`${users} user_name_key = ?`, userNameKey("mixed.CASE@example.com")), [user]);
  assert.deepEqual(find(`${users} external_id = '00u1'`), [user]);
  assert.deepEqual(find("SELECT id FROM rollcall_current_groups WHERE external_id = 'g1'"), [outer]);
  assert.deepEqual(find("SELECT subgroup_id FROM rollcall_current_subgroups WHERE group_id = ?", outer), [
    inner,
  ]);
  const administrators = `SELECT r.user_id FROM rollcall_tenants t
    JOIN rollcall_current_roles r ON r.incarnation = t.incarnation AND r.team = t.root_team AND r.role = 'admin'`;
  assert.ok(find(administrators).includes(user));
  await rollcall.replaceAssignments("demo", outer, []);
});

test("a lost position leads to a snapshot", async () => {
  const other = await Server.start();
  try {
    await other.scim().user("elsewhere");
    const foreign = await other.client().status();
    for (const position of ["0000000000000000-5", foreign.newest?.position ?? ""]) {
      const { database, storage, mirror } = open();
      await mirror.catchUp();
      await scim.user(`lost-${position}`);
      database.prepare("UPDATE rollcall_mirror_state SET position = ?").run(position);
      await converges(async () => {
        await mirror.catchUp();
        return dump(storage);
      });
    }
  } finally {
    other.stop();
  }
});

test("a tenant that is made is filled by the feed, and one that is deleted leaves nothing", async () => {
  const { database, storage, mirror } = open();
  await mirror.catchUp();
  await rollcall.createTenant({ tenant: "short" });
  await rollcall.createTenant({ tenant: "long" });
  const catchUp = async () => {
    await mirror.catchUp();
    return dump(storage);
  };
  await converges(catchUp);
  const { incarnation } = JSON.parse(await dump(storage)).tenants.short;
  const roots = database.prepare("SELECT root_team FROM rollcall_tenants").raw().all().flat();
  assert.ok(roots.length === 3 && roots.every((root) => typeof root === "string"), String(roots));
  await server.tool("tenant", "delete", "short", "--yes", "--wait", "0s");
  await converges(catchUp);
  for (const table of ["tenants", "users", "groups", "members", "assignments"]) {
    const rows = database.prepare(`SELECT * FROM rollcall_${table} WHERE incarnation = ?`).all(incarnation);
    assert.deepEqual(rows, [], table);
  }
});

test("a snapshot beside live writes, and then the feed, are what the API answers", async () => {
  await work("before", 2);
  const { storage, mirror } = open();
  const working = work("beside", 5);
  let isDone = false;
  working.finally(() => (isDone = true));
  await mirror.catchUp();
  while (!isDone) await mirror.catchUp();
  await working;
  await converges(async () => {
    await mirror.catchUp();
    return dump(storage);
  });
  const fresh = open();
  await fresh.mirror.catchUp();
  assert.equal(await dump(fresh.storage), await dump(storage));
});

test("two mirrors of the same tables do no harm, and end when they are asked to", async () => {
  const both = [run("two.db"), run("two.db")];
  await work("two", 2);
  await sleep(2000);
  for (const { child } of both) child.kill("SIGTERM");
  for (const { ended } of both) await ended;
  await converges(async () => (await run("two.db", "--once", "--dump").ended).trimEnd());
});

test("a mirror that is killed at any moment converges", async () => {
  const working = work("killing", 6);
  let isDone = false;
  working.finally(() => (isDone = true));
  let kills = 0;
  while (!isDone || kills < 8) {
    const { child, ended } = run("killed.db");
    await sleep(100 + Math.random() * 500);
    child.kill("SIGKILL");
    await ended;
    kills++;
  }
  await working;
  await converges(async () => (await run("killed.db", "--once", "--dump").ended).trimEnd());
  assert.equal(await run("killed.db", "--dump").ended, `${await truth(rollcall)}\n`);
});
