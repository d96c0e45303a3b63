// Mirrors of the same tables, and a server that is played: what happens between two requests is chosen here.

import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "libsql";
import { LostPosition, Mirror, Rollcall, SqliteStorage } from "../src/index.js";

const LOST = { type: "about:blank", title: "Gone", status: 410, detail: "Take a snapshot." };

/** A deployment without tenants. `meanwhile` happens once, while a snapshot is read. */
function alone(lost: string[]) {
  const database = new Database(":memory:");
  let snapshots = 0;
  const played = { meanwhile: () => {} };
  const answer = (path: string, after: string): object => {
    if (path === "/status") return { snapshot: "snapshot" };
    if (path === "/tenants") {
      snapshots++;
      const { meanwhile } = played;
      played.meanwhile = () => {};
      meanwhile();
      return { tenants: [] };
    }
    return lost.includes(after) ? LOST : { changes: [], next: after, more: false };
  };
  const fetch = (url: unknown) => {
    const { pathname, searchParams } = new URL(String(url));
    const body = answer(pathname, searchParams.get("after") ?? "");
    return Promise.resolve(new Response(JSON.stringify(body), { status: body === LOST ? 410 : 200 }));
  };
  const options = { url: "http://127.0.0.1:9", key: "rca_x", fetch: fetch as typeof globalThis.fetch };
  const mirror = new Mirror(new Rollcall(options), new SqliteStorage(database));
  return {
    mirror,
    played,
    snapshots: () => snapshots,
    position: () => database.prepare("SELECT position FROM rollcall_mirror_state").raw().all().flat()[0],
    move: (to: string) => {
      database.prepare("UPDATE rollcall_mirror_state SET position = ?").run(to);
    },
  };
}

for (const start of ["", "old"]) {
  test(`another mirror may take the snapshot first, after the position "${start}"`, async () => {
    const { mirror, played, snapshots, position, move } = alone(["old"]);
    await mirror.catchUp();
    assert.deepEqual([position(), snapshots()], ["snapshot", 1]);
    move(start);
    played.meanwhile = () => move("further");
    await mirror.catchUp();
    assert.deepEqual([position(), snapshots()], ["further", 2]);
  });
}

test("a position that stays lost ends the mirror after some snapshots", async () => {
  const { mirror, snapshots } = alone(["snapshot"]);
  await assert.rejects(mirror.catchUp(), LostPosition);
  assert.equal(snapshots(), 4);
});
