// User names compare here as they compare in Rollcall.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { userNameKey } from "../src/index.js";
import { Server } from "./server.js";

const VECTORS = new URL("../../../test-data/user-names.json", import.meta.url);
const NAMES = JSON.parse(readFileSync(VECTORS, "utf8")) as { name: string; key: string }[];

test("each name has its key", () => {
  for (const { name, key } of NAMES) {
    assert.equal(userNameKey(name), key, name);
    assert.equal(userNameKey(key), key, key);
  }
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
