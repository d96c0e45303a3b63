// What a change does to the tables. Pure: the same change always makes the same statements.

import { DEFINITION_OF_ROW, GROUP_OF_ROW, USER_OF_ROW } from "../answers.js";
import { UnexpectedAnswer } from "../errors.js";
import type { SqlValue, Statement } from "../storage/storage.js";
import type { Change, Entitlement, Group, Member, Role, Tenant, User } from "../types.js";
import { roleIdKey, userNameKey } from "./names.js";
import { COPIED, COPIED_TABLES, type CopiedTable, LIVE, type Prefix } from "./tables.js";

/** A tenant, and which of those that had its name. */
export interface Owner {
  tenant: string;
  incarnation: string;
}

/** Tenants by their incarnations, as reads showed them. */
export type Tenants = ReadonlyMap<string, Pick<Tenant, "version" | "rootTeam">>;

const ROWS_PER_STATEMENT = 100;
const USER_EXTENSION = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";
const GROUP_EXTENSION = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:Group";

/**
 * The statements that apply a change. Changes are applied in the order of `seq`.
 *
 * The type matters only where `resource` does not tell what happened. So a type of a later server that says
 * something of a user or a group is applied too. All else that is unknown is ignored.
 *
 * `tenants` has the root teams of the tenants whose changes these are, because changes do not have them.
 */
export function statementsFor(
  change: Change,
  tenants: Tenants = new Map(),
  into: Prefix = LIVE,
): Statement[] {
  const owner = { tenant: change.tenant, incarnation: change.incarnation ?? "" };
  switch (change.resourceType) {
    case "User":
      return userChange(change, owner, into);
    case "Group":
      return groupChange(change, owner, into);
    case "Role":
    case "Entitlement":
      return definitionChange(change.resourceType, change, owner, into);
    case "Tenant":
      return tenantChange(change, owner, tenants.get(owner.incarnation));
    default:
      return [];
  }
}

function userChange(change: Change, owner: Owner, into: Prefix): Statement[] {
  const id = change.resourceId;
  if (change.type === "user.deleted" || change.type === "user.purged") {
    return [
      statement(`DELETE FROM ${into}users WHERE ${IS_RESOURCE}`, owner, id),
      statement(`DELETE FROM ${into}user_roles WHERE ${IS_OF_USER}`, owner, id),
    ];
  }
  const state = stateOf(change);
  if (state !== null) return storeUsers(owner, [state as User], into);
  // The account is kept but hidden, or a later change erases it.
  return [statement(`UPDATE ${into}users SET active = 0, hidden = 1 WHERE ${IS_RESOURCE}`, owner, id)];
}

function groupChange(change: Change, owner: Owner, into: Prefix): Statement[] {
  const id = change.resourceId;
  if (change.type === "group.deleted") {
    return [
      ...removeGroup(owner, id, into),
      statement(`DELETE FROM ${into}members WHERE ${IS_OF_GROUP}`, owner, id),
    ];
  }
  const state = stateOf(change);
  return [
    ...(state === null ? removeGroup(owner, id, into) : storeGroups(owner, [state as Group], into)),
    ...storeMembers(owner, id, change.added ?? [], into),
    ...removeMembers(owner, id, change.removed ?? [], into),
  ];
}

/** Which table of the API a role or an entitlement is in. */
export type DefinedKind = "Role" | "Entitlement";

function definitionChange(kind: DefinedKind, change: Change, owner: Owner, into: Prefix): Statement[] {
  // A deletion needs no state.
  const isDeleted = change.type === "role.deleted" || change.type === "entitlement.deleted";
  const state = isDeleted ? (change.resource ?? null) : stateOf(change);
  if (state !== null) return storeDefinitions(owner, kind, [state as Role | Entitlement], into);
  const id = change.resourceId;
  return [
    statement(`DELETE FROM ${into}definitions WHERE ${IS_DEFINITION}`, owner, kind, id),
    ...(kind === "Role" ? [removeGrantsOfDeleted(owner, id, into)] : []),
  ];
}

/**
 * The state of the resource; `null` if it is gone or hidden.
 *
 * @throws UnexpectedAnswer if the change does not say. The resource is not gone then.
 */
function stateOf(change: Change): NonNullable<Change["resource"]> | null {
  if (change.resource !== undefined) return change.resource;
  throw new UnexpectedAnswer(`the change ${change.seq} has no resource, which include=resource asks for`);
}

/** Whether the mirror must read the tenant of this change. */
export function isOfTenant(change: Change): boolean {
  return change.type === "tenant.created" || change.type === "tenant.updated";
}

function tenantChange(change: Change, owner: Owner, read: Pick<Tenant, "version" | "rootTeam"> | undefined) {
  if (isOfTenant(change)) {
    if (read !== undefined && read.version >= change.version) return storeTenant(owner, read.rootTeam, LIVE);
    // The tenant is deleted, or not visible to reads yet. Then it is read again when it certainly is.
    return [
      {
        sql: `INSERT INTO rollcall_tenants (incarnation, tenant) VALUES (?, ?) ON CONFLICT (incarnation) DO NOTHING`,
        values: [owner.incarnation, owner.tenant],
      },
      noteResync(owner, change.seq, 1),
    ];
  }
  switch (change.type) {
    case "tenant.deleted":
      return [
        ...removeTenant(owner, LIVE),
        statement(`DELETE FROM rollcall_resyncs WHERE ${IS_TENANT}`, owner),
      ];
    case "tenant.resync":
      return [noteResync(owner, change.seq, 0)];
    default:
      return [];
  }
}

function noteResync(owner: Owner, seq: number, taken: 0 | 1): Statement {
  return {
    sql: `INSERT INTO rollcall_resyncs (incarnation, tenant, seq, taken) VALUES (?, ?, ?, ?)
      ON CONFLICT (incarnation) DO UPDATE SET seq = excluded.seq, taken = ${taken === 0 ? "0" : "rollcall_resyncs.taken"}`,
    values: [owner.incarnation, owner.tenant, seq, taken],
  };
}

/** Stores a tenant. */
export function storeTenant(owner: Owner, rootTeam: string | null, into: Prefix): Statement[] {
  return insert(into, "tenants", [[owner.incarnation, owner.tenant, rootTeam]]);
}

/**
 * Stores users as they are now.
 *
 * @throws UnexpectedAnswer if one has another form
 */
export function storeUsers(owner: Owner, read: readonly User[], into: Prefix): Statement[] {
  if (read.length === 0) return [];
  const users = read.map((user) => USER_OF_ROW.read(user, "user"));
  const rows = users.map((user): SqlValue[] => [
    owner.incarnation,
    user.id,
    text(user.userName),
    userNameKey(text(user.userName)),
    textOrNull(user.externalId),
    textOrNull(user.displayName),
    textOrNull(emailOf(user)),
    user.active === false ? 0 : 1,
    0,
    versionOf(user, "user"),
    json(withoutGroups(user)),
  ]);
  const roles = users.flatMap((user) =>
    [...new Set((user.roles ?? []).map((role) => roleIdKey(role.value ?? "")))]
      .filter((value) => value !== null)
      .map((value): SqlValue[] => [owner.incarnation, user.id, value]),
  );
  return [
    ...insert(into, "users", rows),
    ...users.map((user) => statement(`DELETE FROM ${into}user_roles WHERE ${IS_OF_USER}`, owner, user.id)),
    ...insert(into, "user_roles", roles),
  ];
}

/**
 * Stores roles or entitlements as they are now, with what roles grant.
 *
 * @throws UnexpectedAnswer if one has another form
 */
export function storeDefinitions(
  owner: Owner,
  kind: DefinedKind,
  read: readonly (Role | Entitlement)[],
  into: Prefix,
): Statement[] {
  if (read.length === 0) return [];
  const definitions = read.map((definition) => DEFINITION_OF_ROW.read(definition, kind.toLowerCase()));
  const rows = definitions.map((definition): SqlValue[] => [
    owner.incarnation,
    kind,
    definition.id,
    text(definition.displayName),
    definition.version,
    json(definition),
  ]);
  const stored = insert(into, "definitions", rows);
  if (kind !== "Role") return stored;
  const roles = definitions as readonly Role[];
  const grants = roles.flatMap((role) =>
    (role.grants ?? []).map((grant): SqlValue[] => [
      owner.incarnation,
      role.id.toLowerCase(),
      grant.team,
      grant.role,
    ]),
  );
  return [
    ...stored,
    ...roles.map((role) => removeGrants(owner, role.id, into)),
    ...insert(into, "grants", grants),
  ];
}

/**
 * Stores groups as they are now, with what they grant and without members.
 *
 * @throws UnexpectedAnswer if one has another form
 */
export function storeGroups(owner: Owner, read: readonly Group[], into: Prefix): Statement[] {
  if (read.length === 0) return [];
  const groups = read.map((group) => GROUP_OF_ROW.read(group, "group"));
  const rows = groups.map((group): SqlValue[] => [
    owner.incarnation,
    group.id,
    textOrNull(group.externalId),
    text(group.displayName),
    versionOf(group, "group"),
    json(withoutMembers(group)),
  ]);
  const assignments = groups.flatMap((group) =>
    (group[GROUP_EXTENSION]?.assignments ?? []).map((assignment): SqlValue[] => [
      owner.incarnation,
      group.id,
      text(assignment.team ?? ""),
      text(assignment.role ?? ""),
    ]),
  );
  return [
    ...insert(into, "groups", rows),
    ...groups.map((group) =>
      statement(`DELETE FROM ${into}assignments WHERE ${IS_OF_GROUP}`, owner, group.id),
    ),
    ...insert(into, "assignments", assignments),
  ];
}

/** Adds members to a group. Neither they nor the group need to exist. */
export function storeMembers(
  owner: Owner,
  group: string,
  members: readonly (string | Member)[],
  into: Prefix,
): Statement[] {
  const ids = members.map((member) => (typeof member === "string" ? member : member.value));
  return insert(
    into,
    "members",
    ids.map((id) => [owner.incarnation, group, id]),
  );
}

/** Removes all of a tenant's incarnation. */
export function removeTenant(owner: Owner, from: Prefix): Statement[] {
  return COPIED_TABLES.map((table) => statement(`DELETE FROM ${from}${table} WHERE ${IS_TENANT}`, owner));
}

const IS_TENANT = "incarnation = ?";
const IS_RESOURCE = `${IS_TENANT} AND id = ?`;
const IS_OF_GROUP = `${IS_TENANT} AND group_id = ?`;
const IS_OF_USER = `${IS_TENANT} AND user_id = ?`;
const IS_DEFINITION = `${IS_TENANT} AND kind = ? AND id = ?`;

function statement(sql: string, owner: Owner, ...more: string[]): Statement {
  return { sql, values: [owner.incarnation, ...more] };
}

function removeGroup(owner: Owner, id: string, from: Prefix): Statement[] {
  return [
    statement(`DELETE FROM ${from}groups WHERE ${IS_RESOURCE}`, owner, id),
    statement(`DELETE FROM ${from}assignments WHERE ${IS_OF_GROUP}`, owner, id),
  ];
}

function removeGrants(owner: Owner, role: string, from: Prefix): Statement {
  const sql = `DELETE FROM ${from}grants WHERE ${IS_TENANT} AND role_id = ?`;
  return statement(sql, owner, role.toLowerCase());
}

/** Keeps the grants if there is another role of this id: after `Billing` was deleted, `billing` may have been made. */
function removeGrantsOfDeleted(owner: Owner, role: string, from: Prefix): Statement {
  const key = role.toLowerCase();
  const others = `SELECT 1 FROM ${from}definitions WHERE ${IS_TENANT} AND kind = 'Role' AND lower(id) = ?`;
  const sql = `DELETE FROM ${from}grants WHERE ${IS_TENANT} AND role_id = ? AND NOT EXISTS (${others})`;
  return statement(sql, owner, key, owner.incarnation, key);
}

function removeMembers(owner: Owner, group: string, ids: readonly string[], from: Prefix): Statement[] {
  if (ids.length === 0) return [];
  const places = ids.map(() => "?").join(", ");
  return [
    statement(
      `DELETE FROM ${from}members WHERE ${IS_OF_GROUP} AND member_id IN (${places})`,
      owner,
      group,
      ...ids,
    ),
  ];
}

/** Inserts rows. A row that exists gets the new values. */
function insert(into: Prefix, table: CopiedTable, rows: readonly SqlValue[][]): Statement[] {
  const { key, columns } = COPIED[table];
  const names = columns.join(", ");
  const place = `(${columns.map(() => "?").join(", ")})`;
  const updated = columns.slice(key).map((column) => `${column} = excluded.${column}`);
  const otherwise = updated.length === 0 ? "NOTHING" : `UPDATE SET ${updated.join(", ")}`;
  const conflict = `ON CONFLICT (${columns.slice(0, key).join(", ")}) DO ${otherwise}`;
  const statements: Statement[] = [];
  for (let first = 0; first < rows.length; first += ROWS_PER_STATEMENT) {
    const some = rows.slice(first, first + ROWS_PER_STATEMENT);
    const places = some.map(() => place).join(", ");
    const sql = `INSERT INTO ${into}${table} (${names}) VALUES ${places} ${conflict}`;
    statements.push({ sql, values: some.flat() });
  }
  return statements;
}

/** The user without groups and roles: a change of a group would not renew them here. The views have them. */
function withoutGroups(user: User): object {
  const { groups: _, [USER_EXTENSION]: extension, ...kept } = user;
  if (!extension) return kept;
  const { roles: __, ...rest } = extension;
  return { ...kept, [USER_EXTENSION]: rest };
}

function withoutMembers(group: Group): object {
  const { members: _, ...kept } = group;
  return kept;
}

/** The text with U+FFFD for each U+0000, which PostgreSQL cannot store, and for each lone surrogate. */
function text(value: string): string {
  return value.replace(/[\0\p{Surrogate}]/gu, "\ufffd");
}

function textOrNull(value: string | null | undefined): string | null {
  return typeof value === "string" ? text(value) : null;
}

function json(value: object): string {
  return JSON.stringify(value, (_, one) => (typeof one === "string" ? text(one) : one));
}

/** The primary address, else the first one. */
function emailOf(user: User): string | undefined {
  const emails = user.emails ?? [];
  return (emails.find((email) => email.primary === true) ?? emails[0])?.value;
}

/**
 * The number in `meta.version`, such as 3 of `W/"3"`.
 *
 * @throws UnexpectedAnswer if it is none
 */
function versionOf(resource: { meta: { version: string } }, kind: string): number {
  const [, digits] = /^W\/"(\d{1,15})"$/.exec(resource.meta.version) ?? [];
  if (digits === undefined) {
    throw new UnexpectedAnswer(`${kind}.meta.version is not a version such as W/"3"`);
  }
  return Number(digits);
}
