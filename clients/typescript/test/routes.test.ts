// Every route, against the real server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ProblemError, type Rollcall } from "../src/index.js";
import { type Scim, Server } from "./server.js";

let server: Server;
let rollcall: Rollcall;
let scim: Scim;

before(async () => {
  server = await Server.start();
  rollcall = server.client();
  scim = server.scim();
});

after(() => server.stop());

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

test("tenants are made, made again, read and changed", async () => {
  const made = await rollcall.createTenant({
    tenant: "acme",
    policy: "standard",
    adminEmail: "a@acme.example",
  });
  assert.equal(made.policy, "standard");
  const again = await rollcall.createTenant({
    tenant: "acme",
    policy: "standard",
    adminEmail: "a@acme.example",
  });
  assert.equal(again.incarnation, made.incarnation);
  await assert.rejects(rollcall.createTenant({ tenant: "acme", policy: "veza" }), (error: ProblemError) => {
    assert.ok(error instanceof ProblemError);
    assert.equal(error.status, 409);
    assert.equal(error.code, "tenantExists");
    return true;
  });
  const changed = await rollcall.updateTenant("acme", { retentionDays: 7 });
  assert.equal(changed.settings.retentionDays, 7);
  assert.equal((await rollcall.retrieveTenant("acme")).settings.retentionDays, 7);
  assert.equal((await rollcall.updateTenant("acme", { plan: "high" })).plan, "high");
  const page = await rollcall.listTenants({ limit: 1 });
  assert.deepEqual(
    page.tenants.map((tenant) => tenant.tenant),
    ["acme"],
  );
  assert.ok(page.next);
  assert.deepEqual(
    (await collect(rollcall.tenants())).map((tenant) => tenant.tenant),
    ["acme", "demo"],
  );
});

test("users and groups are queried, read and followed by pages", async () => {
  const ids: string[] = [];
  for (let number = 0; number < 5; number++) ids.push(await scim.user(`routes${number}`));
  const group = await scim.group("Routes", ids);
  const found = await rollcall.queryUsers("demo", { filter: 'userName eq "routes3@example.com"' });
  assert.equal(found.Resources[0]?.id, ids[3]);
  const query = { filter: 'userName sw "routes"', count: 2 };
  assert.deepEqual(
    (await collect(rollcall.users("demo", query))).map((user) => user.id),
    ids,
  );
  const user = await rollcall.retrieveUser("demo", ids[0] ?? "", { attributes: "userName" });
  assert.equal(user.userName, "routes0@example.com");
  assert.equal(user.displayName, undefined);
  const whole = await rollcall.retrieveUser("demo", ids[0] ?? "");
  const ifNoneMatch = whole.meta?.version ?? "";
  assert.equal(await rollcall.retrieveUser("demo", ids[0] ?? "", {}, { ifNoneMatch }), undefined);
  assert.equal((await rollcall.queryGroups("demo", { filter: 'displayName eq "Routes"' })).totalResults, 1);
  assert.equal((await collect(rollcall.groups("demo", { count: 1 }))).length, 2);
  assert.equal((await rollcall.retrieveGroup("demo", group)).displayName, "Routes");
  const page = await rollcall.listMembers("demo", group, { limit: 2 });
  assert.equal(page.members.length, 2);
  assert.ok(page.next);
  assert.deepEqual(
    (await collect(rollcall.members("demo", group))).map((member) => member.value),
    ids,
  );
});

test("the roles that a group grants are replaced", async () => {
  const user = await scim.user("assigned");
  const group = await scim.group("Assigned", [user]);
  const answer = await rollcall.replaceAssignments("demo", group, [{ team: group, role: "reviewer" }]);
  assert.deepEqual(answer.assignments, [{ team: group, role: "reviewer" }]);
  const extension = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";
  assert.deepEqual((await rollcall.retrieveUser("demo", user))[extension]?.roles, [
    { team: group, role: "reviewer" },
  ]);
  const old = rollcall.replaceAssignments("demo", group, [], { ifMatch: 'W/"1"' });
  await assert.rejects(old, { name: "ProblemError", status: 412 });
});

test("clients are made, rotated, listed and revoked", async () => {
  const made = await rollcall.createClient("demo", { name: "Entra" });
  assert.match(made.clientSecret ?? "", /^rcs_/);
  const rotated = await rollcall.rotateClient("demo", made.id, { overlapSeconds: 0 });
  assert.deepEqual(
    rotated.secrets.map((secret) => secret.id),
    [rotated.secretId],
  );
  await rollcall.revokeClient("demo", made.id);
  const clients = await rollcall.listClients("demo");
  assert.equal(clients.find((client) => client.id === made.id)?.status, "revoked");
});

test("keys are made, rotated, listed and revoked", async () => {
  const made = await rollcall.createKey("demo", { name: "Okta" });
  assert.match(made.key, /^rc_demo_/);
  const next = await rollcall.rotateKey("demo", made.id, { overlapSeconds: 0 });
  assert.match(next.key, /^rc_demo_/);
  await rollcall.revokeKey("demo", next.id);
  const keys = await rollcall.listKeys("demo");
  assert.equal(keys.find((key) => key.id === next.id)?.status, "revoked");
  assert.equal(keys.find((key) => key.id === made.id)?.status, "expired");
});

test("the feed is read by pages, and of one tenant", async () => {
  const pages = await collect(rollcall.changes({ limit: 3, once: true }));
  const changes = pages.flatMap((page) => page.changes);
  assert.deepEqual(
    changes.map((change) => change.seq),
    changes.map((_, index) => index + 1),
  );
  assert.equal(pages.at(-1)?.more, false);
  const own = await collect(rollcall.changes({ tenant: "acme", once: true, include: "resource" }));
  const acme = own.flatMap((page) => page.changes);
  assert.ok(acme.length > 0 && acme.every((change) => change.tenant === "acme"));
  assert.ok(acme.some((change) => change.resource));
  const status = await rollcall.status();
  assert.ok((status.newest?.seq ?? 0) >= (changes.at(-1)?.seq ?? 1));
});

test("the iterator waits for new changes and ends with its signal", async () => {
  const ending = new AbortController();
  const { newest } = await rollcall.status();
  const pages = rollcall.changes({ after: newest?.position, signal: ending.signal, pollMs: 50 });
  const made = scim.user("awaited");
  for await (const page of pages) {
    const ids = page.changes.map((change) => change.resourceId);
    if (ids.includes(await made)) break;
  }
  ending.abort();
  await assert.rejects(collect(rollcall.changes({ signal: ending.signal })), { name: "AbortError" });
});

test("refusals say what to change", async () => {
  const refusals: [() => Promise<unknown>, number, string | null][] = [
    [() => rollcall.retrieveTenant("nowhere"), 404, null],
    [() => rollcall.retrieveUser("demo", "../Groups"), 404, null],
    [() => rollcall.queryUsers("demo", { filter: "userName eq" }), 400, "invalidFilter"],
    [() => rollcall.queryUsers("demo", { cursor: "made-up" }), 400, "invalidCursor"],
    [() => rollcall.listChanges({ after: "made-up" }), 400, "invalidValue"],
    [() => rollcall.createTenant({ tenant: "UPPER" }), 400, "invalidValue"],
    [() => rollcall.listChanges({ after: "0000000000000000-5" }), 410, "lostPosition"],
  ];
  for (const [refusal, status, code] of refusals) {
    await assert.rejects(refusal(), (error: ProblemError) => {
      assert.ok(error instanceof ProblemError);
      assert.equal(error.status, status);
      assert.equal(error.code, code);
      assert.ok(error.detail.length > 10 && error.message.includes(error.detail));
      assert.ok(error.requestId);
      assert.equal(error.name, status === 410 ? "LostPosition" : "ProblemError");
      return true;
    });
  }
});
