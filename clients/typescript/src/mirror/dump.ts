// The mirror as one JSON text, to compare it with another one.

import type { Row, Storage } from "../storage/storage.js";
import { SCHEMA_VERSION } from "./schema.js";
import { prepareTables, readState } from "./tables.js";

type Json = null | string | number | boolean | Json[] | { [name: string]: Json };

/**
 * What the mirror shows, as JSON with sorted names. Hidden accounts are left out with their memberships. Roles of
 * inactive users are left out too. Members are users: groups within groups grant nothing.
 */
export async function dump(storage: Storage): Promise<string> {
  await prepareTables(storage);
  const tables = await storage.transaction(async (transaction) => {
    if ((await readState(transaction)).schemaVersion < SCHEMA_VERSION) {
      throw new Error("The tables are those of an earlier version. Let the mirror catch up once.");
    }
    const current = (kind: string, columns: string) =>
      transaction.all(`SELECT incarnation, ${columns} FROM rollcall_current_${kind}`);
    return {
      tenants: await transaction.all("SELECT incarnation, tenant FROM rollcall_tenants"),
      users: await current("users", "id, user_name, active, version"),
      groups: await current("groups", "id, display_name, version"),
      members: await current("members", "group_id, user_id"),
      definitions: await current("definitions", "kind, id, display_name, version"),
      roles: await current("roles", "user_id, team, role"),
    };
  });
  const tenants: { [name: string]: Json } = {};
  for (const tenant of tables.tenants) {
    const own = (rows: Row[]) => rows.filter((row) => row.incarnation === tenant.incarnation);
    const groups = own(tables.groups);
    const members: { [id: string]: Json[] } = {};
    for (const group of groups) members[column(group, "id")] = [];
    for (const row of own(tables.members)) members[column(row, "group_id")]?.push(column(row, "user_id"));
    const roles: { [id: string]: Json[] } = {};
    for (const row of own(tables.roles)) {
      const user = column(row, "user_id");
      roles[user] ??= [];
      roles[user].push([column(row, "team"), column(row, "role")]);
    }
    tenants[column(tenant, "tenant")] = {
      incarnation: column(tenant, "incarnation"),
      users: Object.fromEntries(own(tables.users).map((user) => [column(user, "id"), shownUser(user)])),
      groups: Object.fromEntries(groups.map((group) => [column(group, "id"), shownGroup(group)])),
      members: sortedLists(members),
      roles: sortedLists(roles),
      defined: Object.fromEntries(
        own(tables.definitions).map((row) => [
          `${column(row, "kind")} ${column(row, "id")}`,
          shownGroup(row),
        ]),
      ),
    };
  }
  return canonical({ tenants });
}

function shownUser(user: Row): Json {
  return {
    userName: column(user, "user_name"),
    active: Number(user.active) === 1,
    version: Number(user.version),
  };
}

function shownGroup(group: Row): Json {
  return { displayName: column(group, "display_name"), version: Number(group.version) };
}

function column(row: Row, name: string): string {
  return String(row[name]);
}

function sortedLists(lists: { [id: string]: Json[] }): Json {
  const byText = (one: Json, other: Json) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1);
  return Object.fromEntries(Object.entries(lists).map(([id, list]) => [id, list.sort(byText)]));
}

/** JSON without spaces, names sorted. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name] ?? null)}`).join(",")}}`;
}
