// The mirror as one JSON text, to compare it with another one.

import type { Row, Storage } from "../storage/storage.js";
import { prepareTables } from "./tables.js";

type Json = null | string | number | boolean | Json[] | { [name: string]: Json };

/**
 * What the mirror shows, as JSON with sorted names. Hidden accounts are left out with their memberships. Roles of
 * inactive users are left out too. Members are users: groups within groups grant nothing.
 */
export async function dump(storage: Storage): Promise<string> {
  await prepareTables(storage);
  const tables = await storage.transaction(async (transaction) => ({
    tenants: await transaction.all(
      "SELECT tenant, incarnation FROM rollcall_tenants ORDER BY tenant, incarnation",
    ),
    users: await transaction.all(
      "SELECT tenant, incarnation, id, user_name, active, version FROM rollcall_users WHERE hidden = 0",
    ),
    groups: await transaction.all(
      "SELECT tenant, incarnation, id, display_name, version FROM rollcall_groups",
    ),
    members: await transaction.all(
      "SELECT tenant, incarnation, group_id, member_id FROM rollcall_memberships WHERE member_type = 'User'",
    ),
    definitions: await transaction.all(
      "SELECT tenant, incarnation, kind, id, display_name, version FROM rollcall_definitions",
    ),
    roles: await transaction.all("SELECT tenant, incarnation, user_id, team, role FROM rollcall_roles"),
  }));
  const tenants: { [name: string]: Json } = {};
  for (const tenant of tables.tenants) {
    const own = (rows: Row[]) =>
      rows.filter((row) => row.tenant === tenant.tenant && row.incarnation === tenant.incarnation);
    const groups = own(tables.groups);
    const members: { [id: string]: Json[] } = {};
    for (const group of groups) members[column(group, "id")] = [];
    for (const row of own(tables.members)) members[column(row, "group_id")]?.push(column(row, "member_id"));
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
    userName: optional(user, "user_name"),
    active: Number(user.active) === 1,
    version: Number(user.version),
  };
}

function shownGroup(group: Row): Json {
  return { displayName: optional(group, "display_name"), version: Number(group.version) };
}

function column(row: Row, name: string): string {
  return String(row[name]);
}

function optional(row: Row, name: string): string | null {
  return row[name] === null ? null : column(row, name);
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
