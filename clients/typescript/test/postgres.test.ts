// The mirror in PostgreSQL: the pg client over a socket to PGlite, which is PostgreSQL itself.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import pg from "pg";
import { dump, Mirror, PostgresStorage } from "../src/index.js";
import { isPassingFailure } from "../src/storage/failures.js";
import { type Scim, Server, truth } from "./server.js";

// Node 18 has no CustomEvent, which the socket of PGlite needs.
(globalThis as Record<string, unknown>).CustomEvent ??= class extends Event {
  readonly detail: unknown;

  constructor(type: string, options: { detail?: unknown } = {}) {
    super(type);
    this.detail = options.detail;
  }
};

for (const old of [null, "python-2.sql", "typescript-2.sql", "both-3.sql"]) {
  const from = old === null ? "" : `, after tables of an earlier version: ${old}`;
  test(`the mirror in PostgreSQL is what the API answers${from}`, () => inPostgres(old));
}

/** A message of PostgreSQL's protocol. */
function message(type: string, body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, body]);
}

test("a connection may end in the moment when it is made", async () => {
  const ends = Buffer.from("SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0");
  const answers = [message("R", Buffer.alloc(4)), message("Z", Buffer.from("I")), message("E", ends)];
  const server = createServer((socket) => socket.once("data", () => socket.end(Buffer.concat(answers))));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const pool = new pg.Pool({ host: "127.0.0.1", port, user: "mirror", database: "mirror" });
  try {
    const storage = new PostgresStorage(pool);
    for (let time = 0; time < 3; time++) {
      await assert.rejects(
        storage.transaction(async () => {}),
        isPassingFailure,
      );
    }
    assert.equal(pool.totalCount, 0);
  } finally {
    await pool.end();
    server.close();
  }
});

async function inPostgres(old: string | null): Promise<void> {
  const server = await Server.start();
  const database = await PGlite.create();
  const socket = new PGLiteSocketServer({ db: database, port: 0, host: "127.0.0.1" });
  await socket.start();
  const port = Number(socket.getServerConn().split(":").at(-1));
  const pool = new pg.Pool({ host: "127.0.0.1", port, database: "postgres", user: "postgres", max: 1 });
  try {
    if (old !== null) {
      const file = new URL(`../../../test-data/${old}`, import.meta.url);
      for (const sql of readFileSync(file, "utf8").split(";\n")) await pool.query(sql);
    }
    await mirrors(server, pool);
  } finally {
    await pool.end();
    await socket.stop();
    await database.close();
    server.stop();
  }
}

/** An ordinary index of PostgreSQL refuses a value of more than 2,700 bytes. */
async function giveLongTexts(scim: Scim, user: string, group: string): Promise<void> {
  const letter = () => String.fromCharCode(0x4e00 + Math.floor(Math.random() * 0x5000));
  const text = () => Array.from({ length: 1000 }, letter).join("");
  const roles = [{ value: text() }, { value: randomBytes(1500).toString("hex") }];
  await scim.patch(`/Users/${user}`, "replace", "roles", roles);
  await scim.patch(`/Users/${user}`, "replace", "externalId", text());
  await scim.patch(`/Users/${user}`, "replace", "userName", `${text()}@example.com`);
  await scim.patch(`/Groups/${group}`, "replace", "externalId", text());
}

async function mirrors(server: Server, pool: pg.Pool): Promise<void> {
  const [rollcall, scim] = [server.client(), server.scim()];
  const ids = await scim.users("postgres", 12);
  const group = await scim.group("Postgres", ids);
  await giveLongTexts(scim, ids[11] ?? "", group);
  const storage = new PostgresStorage(pool);
  const mirror = new Mirror(rollcall, storage);
  await mirror.catchUp();
  await scim.active(ids[0] ?? "", false);
  await scim.remove(`/Users/${ids[1]}`);
  await scim.members(group, "remove", [ids[2] ?? ""]);
  await giveLongTexts(scim, ids[10] ?? "", group);
  await rollcall.createTenant({ tenant: "later" });
  const until = Date.now() + 10_000;
  do await mirror.catchUp();
  while ((await dump(storage)) !== (await truth(rollcall)) && Date.now() < until);
  assert.equal(await dump(storage), await truth(rollcall));
  const rows = await pool.query(
    "SELECT active, hidden FROM rollcall_users WHERE id = ANY($1) ORDER BY hidden",
    [ids.slice(0, 2)],
  );
  assert.deepEqual(rows.rows, [
    { active: 0, hidden: 0 },
    { active: 0, hidden: 1 },
  ]);
  await assert.rejects(
    storage.transaction(async (transaction) => {
      await transaction.run("DELETE FROM rollcall_users");
      throw new Error("undone");
    }),
    /undone/,
  );
  assert.equal(await dump(storage), await truth(rollcall));
}
