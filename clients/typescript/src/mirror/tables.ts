// The tables of the mirror. The SQL is the same for SQLite and PostgreSQL.

import type { Storage } from "../storage/storage.js";

/** The tables that a snapshot replaces, with their columns. The first `key` columns are the primary key. */
export const COPIED = {
  tenants: { key: 2, columns: ["tenant", "incarnation"] },
  users: {
    key: 3,
    columns: [
      "tenant",
      "incarnation",
      "id",
      "user_name",
      "display_name",
      "email",
      "external_id",
      "active",
      "hidden",
      "version",
      "resource",
    ],
  },
  groups: {
    key: 3,
    columns: ["tenant", "incarnation", "id", "display_name", "external_id", "version", "resource"],
  },
  members: { key: 4, columns: ["tenant", "incarnation", "group_id", "member_id"] },
  assignments: { key: 5, columns: ["tenant", "incarnation", "group_id", "team", "role"] },
  // Roles and entitlements, what roles grant, and the values of the users' roles.
  definitions: {
    key: 4,
    columns: ["tenant", "incarnation", "kind", "id", "display_name", "version", "resource"],
  },
  grants: { key: 5, columns: ["tenant", "incarnation", "role_id", "team", "role"] },
  user_roles: { key: 4, columns: ["tenant", "incarnation", "user_id", "role_id"] },
} as const;

/** A table that a snapshot replaces. */
export type CopiedTable = keyof typeof COPIED;

export const COPIED_TABLES = Object.keys(COPIED) as CopiedTable[];

/** What the names of tables begin with. Snapshots are collected in the staging tables. */
export type Prefix = "rollcall_" | "rollcall_staging_";

export const LIVE: Prefix = "rollcall_";
export const STAGING: Prefix = "rollcall_staging_";

const OPTIONAL = new Set(["user_name", "display_name", "email", "external_id"]);

function typeOf(column: string): string {
  if (column === "active" || column === "hidden") return "INTEGER NOT NULL";
  if (column === "version") return "BIGINT NOT NULL";
  return OPTIONAL.has(column) ? "TEXT" : "TEXT NOT NULL";
}

function createTable(prefix: Prefix, table: CopiedTable): string {
  const { key, columns } = COPIED[table];
  const typed = columns.map((column) => `${column} ${typeOf(column)}`);
  const primary = `PRIMARY KEY (${columns.slice(0, key).join(", ")})`;
  return `CREATE TABLE IF NOT EXISTS ${prefix}${table} (${[...typed, primary].join(", ")})`;
}

/** Makes what does not exist yet. */
export const CREATE_TABLES: readonly string[] = [
  ...COPIED_TABLES.map((table) => createTable(LIVE, table)),
  ...COPIED_TABLES.map((table) => createTable(STAGING, table)),
  "CREATE INDEX IF NOT EXISTS rollcall_members_by_member ON rollcall_members (member_id)",
  `CREATE TABLE IF NOT EXISTS rollcall_mirror
    (id INTEGER PRIMARY KEY, position TEXT, seq BIGINT NOT NULL, staging TEXT NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS rollcall_resyncs
    (tenant TEXT NOT NULL, incarnation TEXT NOT NULL, seq BIGINT NOT NULL, taken INTEGER NOT NULL,
     PRIMARY KEY (tenant, incarnation))`,
  "CREATE TABLE IF NOT EXISTS rollcall_schema (version INTEGER PRIMARY KEY)",
];

/** Counts the changes of the tables and views. Tables of an earlier version are filled again by a snapshot. */
const SCHEMA_VERSION = 2;

const SAME_TENANT = (one: string, other: string) =>
  `${one}.tenant = ${other}.tenant AND ${one}.incarnation = ${other}.incarnation`;

/** Makes the views. A membership is shown only if its user and its group exist. */
export const CREATE_VIEWS: readonly string[] = [
  "DROP VIEW IF EXISTS rollcall_memberships",
  `CREATE VIEW rollcall_memberships AS
    SELECT m.tenant, m.incarnation, m.group_id, m.member_id, 'User' AS member_type
      FROM rollcall_members m
      JOIN rollcall_groups g ON ${SAME_TENANT("g", "m")} AND g.id = m.group_id
      JOIN rollcall_users u ON ${SAME_TENANT("u", "m")} AND u.id = m.member_id
      WHERE u.hidden = 0
    UNION ALL
    SELECT m.tenant, m.incarnation, m.group_id, m.member_id, 'Group' AS member_type
      FROM rollcall_members m
      JOIN rollcall_groups g ON ${SAME_TENANT("g", "m")} AND g.id = m.group_id
      JOIN rollcall_groups i ON ${SAME_TENANT("i", "m")} AND i.id = m.member_id`,
  "DROP VIEW IF EXISTS rollcall_roles",
  `CREATE VIEW rollcall_roles AS
    SELECT u.tenant, u.incarnation, u.id AS user_id, a.team, a.role
      FROM rollcall_users u
      JOIN rollcall_members m ON ${SAME_TENANT("m", "u")} AND m.member_id = u.id
      JOIN rollcall_groups g ON ${SAME_TENANT("g", "u")} AND g.id = m.group_id
      JOIN rollcall_assignments a ON ${SAME_TENANT("a", "u")} AND a.group_id = g.id
      WHERE u.active = 1 AND u.hidden = 0
    UNION
    SELECT u.tenant, u.incarnation, u.id AS user_id, g.team, g.role
      FROM rollcall_users u
      JOIN rollcall_user_roles r ON ${SAME_TENANT("r", "u")} AND r.user_id = u.id
      JOIN rollcall_grants g ON ${SAME_TENANT("g", "u")} AND g.role_id = r.role_id
      WHERE u.active = 1 AND u.hidden = 0`,
];

/** Makes the tables and views if they are absent. */
export async function prepareTables(storage: Storage): Promise<void> {
  await storage.transaction(async (transaction) => {
    for (const sql of CREATE_TABLES) await transaction.run(sql);
    const [made] = await transaction.all("SELECT version FROM rollcall_schema");
    if (Number(made?.version) === SCHEMA_VERSION) return;
    for (const sql of CREATE_VIEWS) await transaction.run(sql);
    const reset = "UPDATE rollcall_mirror SET position = NULL, seq = 0 WHERE id = 1";
    if ((await transaction.run(reset)) === 0) {
      await transaction.run(
        "INSERT INTO rollcall_mirror (id, position, seq, staging) VALUES (1, NULL, 0, '')",
      );
    }
    await transaction.run("DELETE FROM rollcall_schema");
    await transaction.run("INSERT INTO rollcall_schema (version) VALUES (?)", [SCHEMA_VERSION]);
  });
}
