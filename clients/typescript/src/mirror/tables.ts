// The tables of the mirror, and how they are made. The SQL is the same for SQLite and PostgreSQL.

import type { Storage, Transaction } from "../storage/storage.js";
import { SCHEMA, SCHEMA_VERSION } from "./schema.js";

/** The tables that a snapshot replaces. */
export const COPIED_TABLES = [
  "tenants",
  "users",
  "groups",
  "members",
  "assignments",
  "definitions",
  "grants",
  "user_roles",
] as const;

/** A table that a snapshot replaces. */
export type CopiedTable = (typeof COPIED_TABLES)[number];

/** What the names of tables begin with. Snapshots are collected in the staging tables. */
export type Prefix = "rollcall_" | "rollcall_staging_";

export const LIVE: Prefix = "rollcall_";
export const STAGING: Prefix = "rollcall_staging_";

const STATEMENTS = SCHEMA.replace(/--.*/g, "")
  .split(";")
  .map((statement) => statement.trim())
  .filter((statement) => statement !== "");
const [STATE = "", ...TABLES_AND_VIEWS] = STATEMENTS;

function createTable(table: CopiedTable): string {
  const begin = `CREATE TABLE rollcall_${table} `;
  return STATEMENTS.find((statement) => statement.startsWith(begin)) ?? "";
}

/** The columns of a table. The first `key` ones are the primary key. */
function readColumns(table: CopiedTable): { key: number; columns: readonly string[] } {
  const sql = createTable(table);
  const columns = [...sql.matchAll(/^ +(\w+) (?:TEXT|INTEGER|BIGINT)/gm)].map(([, name = ""]) => name);
  const key = /PRIMARY KEY \((.*)\)/.exec(sql)?.[1]?.split(", ").length ?? 1;
  return { key, columns };
}

export const COPIED = Object.fromEntries(COPIED_TABLES.map((table) => [table, readColumns(table)])) as Record<
  CopiedTable,
  ReturnType<typeof readColumns>
>;

/** Makes empty staging tables. */
export const CREATE_STAGING: readonly string[] = COPIED_TABLES.flatMap((table) => [
  `DROP TABLE IF EXISTS ${STAGING}${table}`,
  createTable(table).replace(LIVE, STAGING),
]);

export const DROP_STAGING: readonly string[] = COPIED_TABLES.map(
  (table) => `DROP TABLE IF EXISTS ${STAGING}${table}`,
);

const NAMES = TABLES_AND_VIEWS.filter((sql) => !sql.startsWith("CREATE INDEX")).map((sql) =>
  sql.split(/\s+/, 3).slice(1).join(" IF EXISTS "),
);
const OLD_VIEWS = ["VIEW IF EXISTS rollcall_memberships", "VIEW IF EXISTS rollcall_roles"];
const OLD_TABLES = ["mirror", "position", "schema"].map((name) => `TABLE IF EXISTS rollcall_${name}`);

/**
 * Removes all tables and views but the state, also those of earlier versions of both clients, and makes them.
 * A view is removed before what it reads.
 */
const MAKE_ANEW: readonly string[] = [
  ...[...OLD_VIEWS, ...NAMES.reverse(), ...OLD_TABLES].map((name) => `DROP ${name}`),
  ...TABLES_AND_VIEWS,
];

/** A later version of this package has made the tables of the mirror. */
export class LaterTables extends Error {
  override name = "LaterTables";
}

/** How far the mirror is. */
export interface State {
  /** Empty before the first snapshot. */
  position: string;
  /** The number of the last change that was applied; 0 after a snapshot. */
  seq: number;
  /** The version of the tables. */
  schemaVersion: number;
  /** Which mirror fills the staging tables, and when it said so last; empty if they are absent. */
  staging: string;
}

/** Another process has moved the position. */
export class PositionMoved extends Error {}

/** Whether the tables must be filled before changes can be applied to them. */
export function needsSnapshot(state: State): boolean {
  return state.position === "" || state.schemaVersion < SCHEMA_VERSION;
}

/** @throws LaterTables if this version cannot write the tables. */
export async function readState(transaction: Transaction): Promise<State> {
  const [row] = await transaction.all("SELECT * FROM rollcall_mirror_state");
  const schemaVersion = Number(row?.schema_version);
  if (schemaVersion > SCHEMA_VERSION) {
    throw new LaterTables(
      `The tables of the mirror have the version ${schemaVersion}, and this package writes the version ${SCHEMA_VERSION}. Install the later version of rollcall-client that made them.`,
    );
  }
  const [position, staging] = [String(row?.position), String(row?.staging)];
  return { position, seq: Number(row?.seq), schemaVersion, staging };
}

/**
 * Moves the position, in the transaction of the data.
 *
 * @throws PositionMoved if it is not `before` any more
 */
export async function movePosition(
  transaction: Transaction,
  before: State,
  position: string,
  seq: number,
): Promise<void> {
  const sql = `UPDATE rollcall_mirror_state SET position = ?, seq = ?, schema_version = ?
    WHERE position = ? AND schema_version = ?`;
  const values = [position, seq, SCHEMA_VERSION, before.position, before.schemaVersion];
  if ((await transaction.run(sql, values)) === 0) throw new PositionMoved();
}

/** An index of one column. These columns are user names and external ids, the only ones with long texts. */
const INDEX_OF_TEXTS = /^(CREATE INDEX .* )(\(\w+\))$/;

/** Removes all tables but the state, and makes them, within a transaction of the storage. */
export async function makeTablesAnew(storage: Storage, transaction: Transaction): Promise<void> {
  const { methodForTexts = "" } = storage;
  for (const sql of MAKE_ANEW) await transaction.run(sql.replace(INDEX_OF_TEXTS, `$1${methodForTexts}$2`));
}

/** Makes the tables in a new database. Those of an earlier version stay until a snapshot replaces them. */
export async function prepareTables(storage: Storage): Promise<void> {
  await storage.transaction(async (transaction) => {
    if (storage.lockForTables !== undefined) await transaction.run(storage.lockForTables);
    await transaction.run(STATE);
    await transaction.run(
      `INSERT INTO rollcall_mirror_state (id, schema_version, position, seq, staging) VALUES (1, 0, '', 0, '')
        ON CONFLICT DO NOTHING`,
    );
    if ((await readState(transaction)).schemaVersion !== 0) return;
    // The version 2 had its number in a table of its own.
    await transaction.run("CREATE TABLE IF NOT EXISTS rollcall_schema (version INTEGER PRIMARY KEY)");
    if ((await transaction.all("SELECT version FROM rollcall_schema")).length > 0) return;
    await makeTablesAnew(storage, transaction);
    await transaction.run("UPDATE rollcall_mirror_state SET schema_version = ?", [SCHEMA_VERSION]);
  });
}
