// Answers that are a success and are not of Rollcall: they are errors of the client, and a mirror goes on.

import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline, Readable } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { createGzip } from "node:zlib";
import Database from "libsql";
import { dump, isTemporary, Mirror, Rollcall, SqliteStorage } from "../src/index.js";
import { Deployment, type Played, problem, TENANT } from "./played.js";

const SECRET = "rc_acme_do-not-show-this";
const EXTENSION = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:";
const OTHER = { name: "UnexpectedAnswer" };

async function all(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

const METHODS: Record<string, (rollcall: Rollcall) => Promise<unknown>> = {
  status: (rollcall) => rollcall.status(),
  listChanges: (rollcall) => rollcall.listChanges(),
  changes: (rollcall) => all(rollcall.changes({ once: true })),
  listTenants: (rollcall) => rollcall.listTenants(),
  tenants: (rollcall) => all(rollcall.tenants()),
  createTenant: (rollcall) => rollcall.createTenant({ tenant: "acme" }),
  retrieveTenant: (rollcall) => rollcall.retrieveTenant("acme"),
  updateTenant: (rollcall) => rollcall.updateTenant("acme", {}),
  queryUsers: (rollcall) => rollcall.queryUsers("acme"),
  users: (rollcall) => all(rollcall.users("acme")),
  retrieveUser: (rollcall) => rollcall.retrieveUser("acme", "u"),
  queryGroups: (rollcall) => rollcall.queryGroups("acme"),
  groups: (rollcall) => all(rollcall.groups("acme")),
  retrieveGroup: (rollcall) => rollcall.retrieveGroup("acme", "g", {}, { ifNoneMatch: 'W/"1"' }),
  listMembers: (rollcall) => rollcall.listMembers("acme", "g"),
  members: (rollcall) => all(rollcall.members("acme", "g")),
  replaceAssignments: (rollcall) => rollcall.replaceAssignments("acme", "g", []),
  listRoles: (rollcall) => rollcall.listRoles("acme"),
  retrieveRole: (rollcall) => rollcall.retrieveRole("acme", "r"),
  createRole: (rollcall) => rollcall.createRole("acme", { id: "r", displayName: "R" }),
  updateRole: (rollcall) => rollcall.updateRole("acme", "r", {}),
  deleteRole: (rollcall) => rollcall.deleteRole("acme", "r"),
  listEntitlements: (rollcall) => rollcall.listEntitlements("acme"),
  retrieveEntitlement: (rollcall) => rollcall.retrieveEntitlement("acme", "e"),
  createEntitlement: (rollcall) => rollcall.createEntitlement("acme", { id: "e", displayName: "E" }),
  updateEntitlement: (rollcall) => rollcall.updateEntitlement("acme", "e", {}),
  deleteEntitlement: (rollcall) => rollcall.deleteEntitlement("acme", "e"),
  listKeys: (rollcall) => rollcall.listKeys("acme"),
  createKey: (rollcall) => rollcall.createKey("acme", { name: "k" }),
  rotateKey: (rollcall) => rollcall.rotateKey("acme", "k"),
  revokeKey: (rollcall) => rollcall.revokeKey("acme", "k"),
  listClients: (rollcall) => rollcall.listClients("acme"),
  createClient: (rollcall) => rollcall.createClient("acme", { name: "c" }),
  rotateClient: (rollcall) => rollcall.rotateClient("acme", "c"),
  revokeClient: (rollcall) => rollcall.revokeClient("acme", "c"),
  listWebhooks: (rollcall) => rollcall.listWebhooks(),
  webhooks: (rollcall) => all(rollcall.webhooks()),
  createWebhook: (rollcall) => rollcall.createWebhook({ url: "https://example.com" }),
  retrieveWebhook: (rollcall) => rollcall.retrieveWebhook("w"),
  updateWebhook: (rollcall) => rollcall.updateWebhook("w", {}),
  deleteWebhook: (rollcall) => rollcall.deleteWebhook("w"),
  testWebhook: (rollcall) => rollcall.testWebhook("w"),
  rotateWebhook: (rollcall) => rollcall.rotateWebhook("w"),
};

const OTHER_FORMS: Record<string, Played> = {
  HTML: { text: `<html><body>Sign in, ${SECRET}</body></html>` },
  nothing: {},
  "a part": { text: `{"key":"${SECRET}` },
  null: { body: null },
  "a text": { body: SECRET },
  "a number": { body: 5 },
  "a list": { body: [SECRET] },
  "no members": { body: {} },
  "other members": { body: { message: SECRET, error: { code: 5 } } },
  "a 304 that was not asked for": { status: 304 },
};

test("each method is tried", () => {
  const names = Object.getOwnPropertyNames(Rollcall.prototype).filter((name) => name !== "constructor");
  assert.deepEqual(Object.keys(METHODS).sort(), names.sort());
});

for (const [form, played] of Object.entries(OTHER_FORMS)) {
  test(`an answer of another form is an error of the client: ${form}`, async () => {
    for (const [name, call] of Object.entries(METHODS)) {
      if (played.status === 304 && name === "retrieveGroup") continue;
      const deployment = new Deployment();
      deployment.answer = () => played;
      const error = await rejection(call(deployment.client(1)));
      assert.equal(error.name, "UnexpectedAnswer", `${name}: ${inspect(error)}`);
      assert.match(error.message, /^The answer is not of this API: .* Check that the URL ends in \/app\/v1/);
      assert.ok(isTemporary(error));
      assertShowsNoValue(error);
    }
  });
}

async function rejection(call: Promise<unknown>): Promise<Error> {
  return call.then(
    (answer) => assert.fail(`it answered ${JSON.stringify(answer)}`),
    (error: Error) => error,
  );
}

/** Neither the message nor what the console shows of the error has a value of the answer. */
function assertShowsNoValue(error: Error): void {
  // Newer versions of Node quote some characters around the fault in errors of JSON.
  assert.doesNotMatch(inspect(error), /rc_acme|do-not|show|Sign in|<html/);
}

const USER = { id: "u1", userName: "ada@example.com", meta: { version: 'W/"1"' } };
const GROUP = { id: "g1", displayName: "Team", meta: { version: 'W/"1"' } };
const ROLE = { id: "r", displayName: "Role", version: 1, grants: [{ team: "g1", role: "payer" }] };
const ENTITLEMENT = { id: "e", displayName: "Seat", version: 1 };
const ABOUT = { tenant: "acme", incarnation: TENANT.incarnation };
const CHANGE = { seq: 7, type: "user.updated", resourceType: "User", resourceId: "u1", version: 7, ...ABOUT };
const OF_USER = { ...CHANGE, resource: { ...USER, userName: "new@example.com" } };
const OF_GROUP = { ...CHANGE, resourceType: "Group", resourceId: "g1", resource: GROUP };

/** What the deployment has, and a change that renames the user. */
const USUAL: Record<string, unknown> = {
  "/tenants/acme/Groups": { Resources: [GROUP] },
  "/tenants/acme/Groups/g1/members": { members: [{ value: "u1" }] },
  "/tenants/acme/roles": { roles: [ROLE] },
  "/tenants/acme/entitlements": { entitlements: [ENTITLEMENT] },
};

function usual(request: string, query: URLSearchParams): Played | undefined {
  const path = request.replace("GET ", "");
  if (path === "/changes" && query.get("after") !== "0-7") return { body: page(OF_USER) };
  return path in USUAL ? { body: USUAL[path] } : undefined;
}

function page(...changes: unknown[]) {
  return { changes, next: "0-7", more: false };
}

const user = (more: object) => ({ Resources: [{ ...USER, ...more }] });
const group = (more: object) => ({ Resources: [{ ...GROUP, ...more }] });

function without(name: string, of: object): object {
  return Object.fromEntries(Object.entries(of).filter(([member]) => member !== name));
}

const [USERS, GROUPS] = ["/tenants/acme/Users", "/tenants/acme/Groups"];

// What a mirror reads, with one fault each, and what the error says of it.
const FAULTS: [path: string, body: unknown, says: string][] = [
  ["/status", { snapshot: 5 }, "snapshot is a number, not a text"],
  ["/tenants", { tenants: {} }, "tenants is an object, not a list"],
  ["/tenants", { tenants: [SECRET] }, "tenants[0] is a text, not an object"],
  ["/tenants", { tenants: [without("tenant", TENANT)] }, "tenants[0].tenant is missing"],
  ["/tenants", { tenants: [TENANT], next: 5 }, "next is a number, not a text"],
  ["/tenants/acme", { ...TENANT, version: "1" }, "version is a text, not a whole number"],
  ["/tenants/acme", { ...TENANT, version: true }, "version is true or false, not a whole number"],
  ["/tenants/acme", { ...TENANT, version: 1.5 }, "version is a number, not a whole number"],
  ["/tenants/acme", { ...TENANT, version: 1e30 }, "version is a number, not a whole number"],
  ["/tenants/acme", without("rootTeam", TENANT), "rootTeam is missing"],
  [USERS, { resources: [] }, "Resources is missing"],
  [USERS, user({ id: null }), "Resources[0].id is null, not a text"],
  [USERS, user({ userName: [SECRET] }), "user.userName is a list, not a text"],
  [USERS, { Resources: [without("userName", USER)] }, "user.userName is missing"],
  [USERS, user({ active: "false" }), "user.active is a text, not true or false"],
  [USERS, user({ meta: { version: SECRET } }), "user.meta.version is not a version such as"],
  [USERS, user({ meta: [] }), "user.meta is a list, not an object"],
  [USERS, user({ emails: SECRET }), "user.emails is a text, not a list"],
  [USERS, user({ emails: [SECRET] }), "user.emails[0] is a text, not an object"],
  [USERS, user({ roles: [{ value: 5 }] }), "user.roles[0].value is a number, not a text"],
  [USERS, user({ [`${EXTENSION}User`]: [] }), "is a list, not an object"],
  [GROUPS, group({ displayName: null }), "group.displayName is null, not a text"],
  [GROUPS, group({ meta: {} }), "group.meta.version is missing"],
  [GROUPS, group({ [`${EXTENSION}Group`]: { assignments: [{ team: "g1" }] } }), "[0].role is missing"],
  [`${GROUPS}/g1/members`, { members: ["u1"] }, "members[0] is a text, not an object"],
  [`${GROUPS}/g1/members`, { members: [{ value: 5 }] }, "members[0].value is a number, not a text"],
  ["/tenants/acme/roles", { roles: [{ ...ROLE, version: "1" }] }, "roles[0].version is a text"],
  ["/tenants/acme/roles", { roles: [{ ...ROLE, grants: [{ team: 5 }] }] }, "grants[0].team is a number"],
  ["/tenants/acme/entitlements", { entitlements: [without("displayName", ENTITLEMENT)] }, "is missing"],
  ["/changes", { changes: [] }, "next is missing"],
  ["/changes", { ...page(), more: "false" }, "more is a text, not true or false"],
  ["/changes", { ...page(), changes: null }, "changes is null, not a list"],
  ["/changes", page(SECRET), "changes[0] is a text, not an object"],
  ["/changes", page({ ...OF_USER, seq: "7" }), "changes[0].seq is a text, not a whole number"],
  ["/changes", page(OF_USER, without("resourceId", OF_USER)), "changes[1].resourceId is missing"],
  ["/changes", page(without("incarnation", OF_USER)), "changes[0].incarnation is missing"],
  ["/changes", page({ ...OF_USER, resource: SECRET }), "changes[0].resource is a text, not an object"],
  ["/changes", page({ ...OF_USER, resource: { message: SECRET } }), "user.id is missing"],
  ["/changes", page(CHANGE), "the change 7 has no resource"],
  ["/changes", page(without("resource", OF_GROUP)), "the change 7 has no resource"],
  ["/changes", page({ ...CHANGE, resourceType: "Role" }), "the change 7 has no resource"],
  ["/changes", page({ ...OF_GROUP, added: SECRET }), "changes[0].added is a text, not a list"],
  ["/changes", page({ ...OF_GROUP, removed: [{}] }), "changes[0].removed[0] is an object, not a text"],
  ["/changes", page({ ...OF_GROUP, resource: { ...GROUP, meta: { version: "" } } }), "is not a version"],
  [
    "/changes",
    { changes: [], next: "snapshot", more: true },
    "it says that there is more, and does not go on",
  ],
];

for (const [path, body, says] of FAULTS) {
  test(`a mirror tries again after an answer of another form: ${path}, ${says}`, async () => {
    const errors = await followWithOne(path, { body });
    assert.equal(errors.length, 1);
    const [error] = errors;
    assert.equal(error?.name, "UnexpectedAnswer", inspect(error));
    assert.ok(error?.message.includes(says), error?.message);
    assertShowsNoValue(error as Error);
  });
}

/** Follows a deployment that answers something else once. At the end the mirror has what the deployment has. */
async function followWithOne(path: string, other: Played): Promise<Error[]> {
  const deployment = new Deployment();
  let isLeft = true;
  deployment.answer = (request, query) => {
    if (!isLeft || request !== `GET ${path}`) return usual(request, query);
    isLeft = false;
    return other;
  };
  const errors: Error[] = [];
  const storage = new SqliteStorage(new Database(":memory:"));
  const ending = new AbortController();
  const options = { pollMs: 10, onError: (error: unknown) => errors.push(error as Error) };
  const following = new Mirror(deployment.client(1), storage, options).follow(ending.signal);
  following.catch(() => {});
  const shown = async () => JSON.parse(await dump(storage)).tenants.acme;
  for (let waited = 0; waited < 200; waited++) {
    if ((await shown())?.users.u1?.userName === "new@example.com") break;
    await sleep(10);
  }
  ending.abort();
  await following;
  const { users, members } = await shown();
  assert.equal(users.u1.userName, "new@example.com");
  assert.deepEqual(members, { g1: ["u1"] });
  return errors;
}

test("what a newer server adds and what it leaves out does no harm", async () => {
  const more = { new: [1], emails: null, externalId: null, roles: null, [`${EXTENSION}User`]: null };
  assert.deepEqual(await followWithOne(USERS, { body: { ...user(more), nextCursor: null, new: {} } }), []);
  const odd = group({ [`${EXTENSION}Group`]: { new: 1 } });
  assert.deepEqual(await followWithOne(GROUPS, { body: odd }), []);
});

for (const [name, body] of [
  ["tenants", { tenants: [TENANT], next: "c" }],
  ["users", { Resources: [USER], nextCursor: "c" }],
  ["groups", { Resources: [GROUP], nextCursor: "c" }],
  ["members", { members: [{ value: "u" }], next: "c" }],
  ["webhooks", { webhooks: [{ id: "w" }], next: "c" }],
] as const) {
  test(`a list that comes again and again ends, as from a cache that ignores the query: ${name}`, async () => {
    const deployment = new Deployment();
    deployment.answer = () => (deployment.requests.length > 9 ? { status: 403 } : { body });
    await assert.rejects(METHODS[name]?.(deployment.client(1)) as Promise<unknown>, {
      ...OTHER,
      message: /it says that there is more, and does not go on/,
    });
    assert.equal(deployment.requests.length, 2);
  });
}

test("reads are sent again after answers of something else, and a POST is not", async () => {
  for (const [name, expected] of [
    ["status", 2],
    ["createKey", 1],
  ] as const) {
    const deployment = new Deployment();
    deployment.answer = () => (deployment.requests.length < 2 ? { text: "<html>" } : undefined);
    const answer = METHODS[name]?.(deployment.client()) as Promise<unknown>;
    if (expected === 1) await assert.rejects(answer, OTHER);
    else await answer;
    assert.equal(deployment.requests.length, expected);
  }
});

// Refusals of something that is not Rollcall

const ABSENT: Played = { status: 404, text: "default backend - 404" };

for (const path of ["/tenants/acme", USERS, GROUPS, `${GROUPS}/g1/members`]) {
  test(`a 404 of a proxy removes nothing from a snapshot: ${path}`, async () => {
    const [error, ...more] = await followWithOne(path, ABSENT);
    assert.match(String(error), /UnexpectedAnswer: .* it is a 404 of something else/);
    assert.deepEqual(more, []);
  });
}

for (const status of [302, 307, 400, 403, 404, 405, 407, 408, 409, 410, 412, 413, 415, 418, 425, 451]) {
  test(`a mirror goes on after a page of a proxy: ${status}`, async () => {
    const headers = { location: "https://example.com/log-in" };
    const [error, ...more] = await followWithOne(USERS, { status, headers, text: "<html>Sign in</html>" });
    assert.match(String(error), new RegExp(`UnexpectedAnswer: .* it is a ${status} of something else`));
    assert.deepEqual(more, []);
  });
}

for (const status of [400, 401, 403, 405, 409, 412]) {
  test(`a mirror ends after a refusal of Rollcall: ${status}`, async () => {
    const deployment = new Deployment();
    deployment.answer = (request) => (request === `GET ${USERS}` ? problem(status) : undefined);
    const mirror = new Mirror(deployment.client(1), new SqliteStorage(new Database(":memory:")));
    await assert.rejects(mirror.follow(AbortSignal.timeout(5_000)), { name: "ProblemError", status });
  });
}

test("401 and 429 need no problem", async () => {
  for (const status of [401, 429]) {
    const deployment = new Deployment();
    deployment.answer = () => ({ status, text: "<html>" });
    await assert.rejects(deployment.client(1).status(), { name: "ProblemError", status });
  }
});

/** A client of a server of the test, and how many requests came to it. */
async function withServer(
  answer: RequestListener,
  use: (rollcall: Rollcall, requests: () => number) => Promise<void>,
  options: { timeoutMs?: number } = {},
): Promise<void> {
  let count = 0;
  const server = createServer((request, response) => {
    count++;
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await use(
      new Rollcall({ url: `http://127.0.0.1:${port}/app/v1`, key: "rca_x", ...options }),
      () => count,
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("an answer that is too large is not of Rollcall, and is not sent again", async () => {
  let isEnded = false;
  const large: RequestListener = (_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" });
    const packer = createGzip();
    pipeline(Readable.from(mebibytes(1000)), packer, response, () => (isEnded = true));
  };
  await withServer(large, async (rollcall, requests) => {
    await assert.rejects(rollcall.status(), { ...OTHER, message: /it has more than 67108864 bytes/ });
    for (let waited = 0; waited < 100 && !isEnded; waited++) await sleep(20);
    assert.ok(isEnded, "the connection is closed");
    assert.equal(requests(), 1);
  });
});

test("an answer that is packed several times is limited as a whole", async () => {
  const packed: RequestListener = (_, response) => {
    response.writeHead(200, { "content-encoding": "gzip, gzip" });
    pipeline(Readable.from(mebibytes(1000)), createGzip(), createGzip(), response, () => {});
  };
  await withServer(packed, async (rollcall) => {
    await assert.rejects(rollcall.status(), { ...OTHER, message: /it has more than 67108864 bytes/ });
  });
});

test("an answer that comes slowly has more time for each 100 KB", async () => {
  const slow: RequestListener = async (_, response) => {
    for (let part = 0; part < 10; part++) {
      response.write(Buffer.alloc(50_000, 32));
      await sleep(100);
    }
    response.end('{"snapshot":"end"}');
  };
  await withServer(
    slow,
    async (rollcall, requests) => {
      assert.equal((await rollcall.status()).snapshot, "end");
      assert.equal(requests(), 1);
    },
    { timeoutMs: 500 },
  );
});

for (const status of [302, 307, 400, 404, 418]) {
  test(`a page of a proxy is not sent again: ${status}`, async () => {
    const page: RequestListener = (_, response) => {
      const headers = { location: "/log-in", "x-amzn-requestid": "c6af9ac6" };
      response.writeHead(status, headers).end("<html>");
    };
    await withServer(page, async (rollcall, requests) => {
      const message = new RegExp(`it is a ${status} of something else \\(x-amzn-requestid c6af9ac6\\)\\.`);
      await assert.rejects(rollcall.revokeKey("acme", "k"), { ...OTHER, message });
      assert.equal(requests(), 1);
    });
  });
}

function* mebibytes(count: number): Generator<Buffer> {
  for (let made = 0; made < count; made++) yield Buffer.alloc(1024 * 1024, 32);
}

test("an id that leads to another route is refused before it is sent", async () => {
  for (const id of ["", ".", ".."]) {
    const deployment = new Deployment();
    const rollcall = deployment.client();
    for (const call of [
      rollcall.retrieveTenant(id),
      rollcall.retrieveUser("acme", id),
      rollcall.deleteWebhook(id),
      all(rollcall.members("acme", id)),
    ]) {
      await assert.rejects(call, /^TypeError: .* another route/);
    }
    assert.deepEqual(deployment.requests, []);
  }
});

test("a 410 of a proxy is no lost position", async () => {
  const deployment = new Deployment();
  const mirror = new Mirror(deployment.client(1), new SqliteStorage(new Database(":memory:")));
  await mirror.catchUp();
  deployment.answer = () => ({ status: 410, text: "The page is gone." });
  await assert.rejects(mirror.catchUp(), OTHER);
  assert.equal(deployment.count("GET /tenants"), 1);
});

test("a 404 of a proxy does not say that a DELETE was carried out", async () => {
  const deployment = new Deployment();
  deployment.answer = () => (deployment.requests.length < 2 ? { status: 502 } : ABSENT);
  await assert.rejects(deployment.client().revokeKey("acme", "k"), OTHER);
});

test("a refusal of Rollcall stays what it is", async () => {
  const deployment = new Deployment();
  deployment.answer = () => problem(404);
  await assert.rejects(deployment.client().retrieveUser("acme", "nobody"), { status: 404 });
});
