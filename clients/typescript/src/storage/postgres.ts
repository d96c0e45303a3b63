// PostgreSQL by pg.

import type { Row, SqlValue, Storage, Transaction } from "./storage.js";

/** A connection of pg. */
export interface PostgresClient {
  query(sql: string, values?: SqlValue[]): Promise<{ rows: unknown[]; rowCount: number | null }>;
  release(error?: boolean): void;
  on?(event: "error", listener: (error: Error) => void): unknown;
  off?(event: "error", listener: (error: Error) => void): unknown;
}

/** A pool of pg. */
export interface PostgresPool {
  connect(): Promise<PostgresClient>;
  on?(event: "error", listener: (error: Error) => void): unknown;
  on?(event: "connect", listener: (client: PostgresClient) => void): unknown;
}

/** Two processes that start at once make the tables one after the other. The client for Python takes the same lock. */
const TABLES_LOCK = 7_644_001;

/**
 * pg tells of a lost connection twice: the query fails, and there is an event, which ends the process if nobody listens.
 * The pool replaces such a connection itself.
 */
const ignoreEvent = () => {};

/** Keeps the mirror in PostgreSQL. */
export class PostgresStorage implements Storage {
  readonly lockForTables = `SELECT pg_advisory_xact_lock(${TABLES_LOCK})`;
  /** The usual index refuses a text of more than 2,700 bytes. */
  readonly methodForTexts = "USING hash ";
  /** The text of a time depends on the DateStyle of the database. */
  readonly milliseconds = "FLOOR(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000)";
  readonly #pool: PostgresPool;

  constructor(pool: PostgresPool) {
    this.#pool = pool;
    pool.on?.("error", ignoreEvent);
    // A new connection may be lost before `transaction` has it.
    pool.on?.("connect", (client) => client.on?.("error", ignoreEvent));
  }

  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    // The pool listens only while it has the connection, which may be older than this storage.
    client.on?.("error", ignoreEvent);
    let isBroken = true;
    try {
      await client.query("BEGIN");
      const result = await work({
        run: async (sql, values = []) => (await client.query(numbered(sql), [...values])).rowCount ?? 0,
        all: async (sql, values = []) => (await client.query(numbered(sql), [...values])).rows as Row[],
      });
      await client.query("COMMIT");
      isBroken = false;
      return result;
    } catch (error) {
      isBroken = await client.query("ROLLBACK").then(
        () => false,
        () => true,
      );
      throw error;
    } finally {
      client.off?.("error", ignoreEvent);
      client.release(isBroken);
    }
  }
}

/** `$1`, `$2`, … for each `?`. The statements of the mirror have no `?` in texts. */
function numbered(sql: string): string {
  let count = 0;
  return sql.replaceAll("?", () => `$${++count}`);
}
