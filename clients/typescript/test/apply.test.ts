// What changes do to the tables, in orders that a real server seldom shows.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import Database from "libsql";
import type { Change } from "../src/index.js";
import { statementsFor, type Tenants } from "../src/mirror/apply.js";
import { SCHEMA } from "../src/mirror/schema.js";

function tables() {
  const database = new Database(":memory:");
  database.exec(SCHEMA);
  let seq = 0;
  return {
    apply(change: object, tenants: Tenants = new Map()) {
      const whole = { seq: ++seq, tenant: "acme", incarnation: "one", version: seq, ...change };
      for (const { sql, values } of statementsFor(whole as unknown as Change, tenants))
        database.prepare(sql).run(...values);
    },
    column: (sql: string) => database.prepare(sql).raw().all().flat(),
  };
}

const META = { version: 'W/"1"' };

/** A change of a user. Every state has a name and a version. */
function user(type: string, id: string, state: object | null) {
  const resource = state && { userName: id, meta: META, ...state };
  return { type, resourceType: "User", resourceId: id, resource };
}

/** A change of a group. Every state has a name and a version. */
function group(type: string, id: string, more: { resource: object | null; [name: string]: unknown }) {
  const resource = more.resource && { displayName: id, meta: META, ...more.resource };
  return { type, resourceType: "Group", resourceId: id, ...more, resource };
}

const tenant = (type: string, incarnation: string) => ({
  type,
  resourceType: "Tenant",
  resourceId: "acme",
  incarnation,
});
const EXTENSION = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:Group";

test("changes of users and groups may stand before tenant.created", () => {
  const { apply, column } = tables();
  apply(group("group.created", "g", { added: ["u"], resource: { id: "g", displayName: "G" } }));
  apply(user("user.created", "u", { id: "u", userName: "u" }));
  apply(tenant("tenant.created", "one"));
  assert.deepEqual(column("SELECT user_id FROM rollcall_current_members"), ["u"]);
  assert.deepEqual(column("SELECT incarnation FROM rollcall_tenants"), ["one"]);
});

test("a tenant of the same name inherits nothing, in whatever order both are told of", () => {
  const { apply, column } = tables();
  apply(tenant("tenant.created", "one"));
  apply(user("user.created", "old", { id: "old" }));
  apply(group("group.created", "g", { added: ["old"], resource: { id: "g" } }));
  apply(tenant("tenant.created", "two"));
  apply({ ...user("user.created", "new", { id: "new" }), incarnation: "two" });
  apply({ ...group("group.created", "g", { added: ["new"], resource: { id: "g" } }), incarnation: "two" });
  apply(user("user.updated", "old", { id: "old" }));
  apply(tenant("tenant.deleted", "one"));
  assert.deepEqual(column("SELECT incarnation, id FROM rollcall_users"), ["two", "new"]);
  assert.deepEqual(column("SELECT incarnation, member_id FROM rollcall_members"), ["two", "new"]);
  assert.deepEqual(column("SELECT incarnation FROM rollcall_tenants"), ["two"]);
});

test("the parts of a large change add and remove members; its commit names none", () => {
  const { apply, column } = tables();
  const resource = { id: "g" };
  apply(group("group.created", "g", { resource, added: ["b"] }));
  apply(group("group.updated", "g", { resource, part: 0, parts: 2, addedCount: 2, removedCount: 1 }));
  apply(group("group.updated", "g", { resource, part: 2, parts: 2, added: ["c"], removed: ["b"] }));
  apply(group("group.updated", "g", { resource, part: 1, parts: 2, added: ["a"] }));
  assert.deepEqual(column("SELECT member_id FROM rollcall_members ORDER BY 1"), ["a", "c"]);
  assert.deepEqual(column("SELECT user_id FROM rollcall_current_members"), [], "no such users yet");
  apply(group("group.deleted", "g", { resource: null }));
  assert.deepEqual(column("SELECT member_id FROM rollcall_members"), []);
});

test("effective roles follow from memberships, assignments and who is active", () => {
  const { apply, column } = tables();
  const roles = () => column("SELECT role FROM rollcall_current_roles ORDER BY 1");
  const granting = (...names: string[]) => ({
    resource: { id: "g", [EXTENSION]: { assignments: names.map((role) => ({ team: "t", role })) } },
  });
  apply(tenant("tenant.created", "one"));
  apply(user("user.created", "u", { id: "u", active: true }));
  apply(group("group.created", "g", { ...granting("admin", "member"), added: ["u"] }));
  assert.deepEqual(roles(), ["admin", "member"]);
  apply(group("group.updated", "g", granting("member")));
  assert.deepEqual(roles(), ["member"]);
  apply(user("user.deactivated", "u", { id: "u", active: false }));
  assert.deepEqual(roles(), []);
  apply(user("user.reactivated", "u", { id: "u", active: true }));
  assert.deepEqual(roles(), ["member"]);
  apply(group("group.updated", "g", { ...granting("member"), removed: ["u"] }));
  assert.deepEqual(roles(), []);
});

test("groups within groups are memberships, and grant nothing", () => {
  const { apply, column } = tables();
  apply(tenant("tenant.created", "one"));
  apply(user("user.created", "u", { id: "u" }));
  apply(group("group.created", "inner", { added: ["u"], resource: { id: "inner" } }));
  const extension = { [EXTENSION]: { assignments: [{ team: "t", role: "r" }] } };
  apply(group("group.created", "outer", { added: ["inner"], resource: { id: "outer", ...extension } }));
  assert.deepEqual(column("SELECT group_id, user_id FROM rollcall_current_members"), ["inner", "u"]);
  assert.deepEqual(column("SELECT group_id, subgroup_id FROM rollcall_current_subgroups"), [
    "outer",
    "inner",
  ]);
  assert.deepEqual(column("SELECT role FROM rollcall_current_roles"), []);
});

test("the stored user has no groups and roles, which changes of groups would not renew", () => {
  const { apply, column } = tables();
  const extension = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";
  const state = {
    id: "u",
    groups: [{ value: "g" }],
    [extension]: { account: "sso", roles: [{ team: "t" }] },
  };
  apply(user("user.created", "u", state));
  assert.deepEqual(JSON.parse(String(column("SELECT resource FROM rollcall_users")[0])), {
    id: "u",
    userName: "u",
    meta: META,
    [extension]: { account: "sso" },
  });
});

test("a user that a null state leaves in doubt is hidden until a change erases it", () => {
  const { apply, column } = tables();
  apply(user("user.created", "u", { id: "u", userName: "u" }));
  apply(user("user.updated", "u", null));
  assert.deepEqual(column("SELECT active, hidden FROM rollcall_users"), [0, 1]);
  apply(user("user.deleted", "u", null));
  assert.deepEqual(column("SELECT id FROM rollcall_users"), []);
});

/** What each type does with a state and without one. The client for Python has the same table. */
interface Case {
  type: string;
  resourceType: string;
  withState: string;
  withNull: string;
}

const FILE = new URL("../../../test-data/changes.json", import.meta.url);
const CASES = JSON.parse(readFileSync(FILE, "utf8")) as Case[];
const TABLES: Record<string, string> = {
  User: "users",
  Group: "groups",
  Role: "definitions",
  Entitlement: "definitions",
};
const LEFT: Record<string, string> = {
  "0 new": "stored",
  "1 old": "hidden",
  "undefined undefined": "gone",
};

for (const { type, resourceType, withState, withNull } of CASES) {
  test(`${type} does what it does in the other client`, () => {
    const whole = { id: "x", userName: "x", meta: META, version: 1, grants: [] };
    const state = (displayName: string) => ({ ...whole, displayName });
    for (const [resource, expected] of [
      [state("new"), withState],
      [null, withNull],
    ] as const) {
      const { apply, column } = tables();
      const about = { resourceType, resourceId: "x" };
      const members = resourceType === "Group" ? { added: ["member"] } : {};
      const created = `${resourceType.toLowerCase()}.created`;
      apply({ ...about, ...members, type: created, resource: state("old") });
      apply({ ...about, type, resource });
      const hidden = resourceType === "User" ? "hidden" : "0";
      const [left, name] = column(`SELECT ${hidden}, display_name FROM rollcall_${TABLES[resourceType]}`);
      assert.equal(LEFT[`${left} ${name}`], expected);
      const kept = resourceType === "Group" && type !== "group.deleted" ? ["member"] : [];
      assert.deepEqual(column("SELECT member_id FROM rollcall_members"), kept);
    }
  });
}

test("a late deletion of a role keeps what a role of the same name in another case grants", () => {
  const { apply, column } = tables();
  const role = (id: string, granted: string | null) => {
    const state = { id, displayName: id, version: 1, grants: [{ team: "g", role: granted }] };
    const [type, resource] = granted === null ? ["role.deleted", null] : ["role.created", state];
    apply({ type, resourceType: "Role", resourceId: id, resource });
    return column("SELECT role_id, role FROM rollcall_grants");
  };
  role("Billing", "payer");
  assert.deepEqual(role("billing", "owner"), ["billing", "owner"]);
  assert.deepEqual(role("Billing", null), ["billing", "owner"]);
  assert.deepEqual(role("billing", null), []);
});

test("unknown fields, types and kinds of resources are ignored", () => {
  const { apply, column } = tables();
  apply({
    ...user("user.created", "u", { id: "u", userName: "u", "urn:new": { a: 1 } }),
    newField: { b: 2 },
  });
  apply({ type: "planet.moved", resourceType: "Planet", resourceId: "p", resource: { id: "p" } });
  apply({ type: "tenant.painted", resourceType: "Tenant", resourceId: "acme" });
  apply({
    type: "application.created",
    resourceType: "Application",
    resourceId: "app",
    tenant: "deployment",
  });
  apply(user("user.greeted", "u", { id: "u", userName: "renamed" }));
  assert.deepEqual(
    column("SELECT user_name FROM rollcall_users"),
    ["renamed"],
    "the state is the user's all the same",
  );
  assert.deepEqual(column("SELECT tenant FROM rollcall_tenants"), []);
});

test("the primary address, the version and odd values become columns", () => {
  const { apply, column } = tables();
  const emails = [{ value: "a@example.com" }, { value: "b@example.com", primary: true }];
  apply(user("user.created", "u", { id: "u", userName: "U\0", emails, meta: { version: 'W/"12"' } }));
  assert.deepEqual(
    column("SELECT user_name, user_name_key, email, version, external_id FROM rollcall_users"),
    ["U\ufffd", "u\ufffd", "b@example.com", 12, null],
  );
  const [resource] = column("SELECT resource FROM rollcall_users");
  assert.equal(JSON.parse(String(resource)).userName, "U\ufffd");
});

test("a lone surrogate is replaced, since it cannot be stored", () => {
  const { apply, column } = tables();
  apply(user("user.created", "u", { id: "u", displayName: "a\ud800\0", nickName: "\ud83d\ude42" }));
  const [name, resource] = column("SELECT display_name, resource FROM rollcall_users");
  assert.equal(name, "a\ufffd\ufffd");
  const { displayName, nickName } = JSON.parse(String(resource));
  assert.deepEqual([displayName, nickName], ["a\ufffd\ufffd", "\ud83d\ude42"]);
});

test("the root team comes from a read of the tenant that is as new as the change", () => {
  const { apply, column } = tables();
  const row = () => column("SELECT root_team FROM rollcall_tenants");
  const read = (version: number, rootTeam: string) => new Map([["one", { version, rootTeam }]]);
  apply({ ...tenant("tenant.created", "one"), version: 1 });
  assert.deepEqual(row(), [null]);
  assert.deepEqual(column("SELECT incarnation, seq, taken FROM rollcall_resyncs"), ["one", 1, 1]);
  apply({ ...tenant("tenant.updated", "one"), version: 2 }, read(2, "root"));
  assert.deepEqual(row(), ["root"]);
  apply({ ...tenant("tenant.updated", "one"), version: 3 }, read(2, "old"));
  assert.deepEqual(row(), ["root"]);
  apply(tenant("tenant.resync", "one"));
  apply({ ...tenant("tenant.updated", "one"), version: 4 });
  assert.deepEqual(column("SELECT seq, taken FROM rollcall_resyncs"), [5, 0]);
  apply(tenant("tenant.deleted", "one"));
  assert.deepEqual(column("SELECT incarnation FROM rollcall_resyncs"), []);
});
