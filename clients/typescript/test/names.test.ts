// User names and ids of roles compare here as they compare in Rollcall.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { userNameKey } from "../src/index.js";
import { roleIdKey } from "../src/mirror/names.js";
import { Server } from "./server.js";

/** Reads a file that both clients test with. */
function readVectors<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../../../test-data/${file}`, import.meta.url), "utf8")) as T;
}

const NAMES = readVectors<{ name: string; key: string }[]>("user-names.json");
const ROLE_IDS = readVectors<{ value: string; key: string | null }[]>("role-ids.json");

test("each name has its key", () => {
  for (const { name, key } of NAMES) {
    assert.equal(userNameKey(name), key, name);
    assert.equal(userNameKey(key), key, key);
  }
});

test("each value of a role has its key", () => {
  for (const { value, key } of ROLE_IDS) assert.equal(roleIdKey(value), key, JSON.stringify(value));
});

test("a filter of the server finds the names of the same key", async () => {
  const server = await Server.start();
  try {
    const rollcall = server.client();
    await rollcall.createTenant({ tenant: "names", policy: "standard" });
    const { key: bearer } = await rollcall.createKey("names", { name: "work" });
    const made = new Map<string, string>();
    for (const { name, key } of NAMES) {
      if (made.has(key)) continue;
      const answer = await fetch(`${server.printed.base_url}/Users`, {
        method: "POST",
        headers: { authorization: `Bearer ${bearer}`, "content-type": "application/scim+json" },
        body: JSON.stringify({ userName: name, displayName: "N", name: { givenName: "N", familyName: "T" } }),
      });
      const text = await answer.text();
      if (answer.status === 201) made.set(key, JSON.parse(text).id);
      else assert.match(text, /Attribute userName holds the character/, name);
    }
    assert.ok(made.size > 20);
    for (const { name, key } of NAMES) {
      const found = await rollcall.queryUsers("names", { filter: `userName eq ${JSON.stringify(name)}` });
      const ids = found.Resources.map((user) => user.id);
      assert.deepEqual(ids, made.has(key) ? [made.get(key)] : [], name);
    }
  } finally {
    server.stop();
  }
});
