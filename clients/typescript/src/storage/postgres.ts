// PostgreSQL by pg.

import type { Row, SqlValue, Storage, Transaction } from "./storage.js";

/** A connection of pg. */
export interface PostgresClient {
  query(sql: string, values?: SqlValue[]): Promise<{ rows: unknown[]; rowCount: number | null }>;
  release(error?: boolean): void;
}

/** A pool of pg. */
export interface PostgresPool {
  connect(): Promise<PostgresClient>;
}

/** Keeps the mirror in PostgreSQL. */
export class PostgresStorage implements Storage {
  readonly #pool: PostgresPool;

  constructor(pool: PostgresPool) {
    this.#pool = pool;
  }

  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
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
      client.release(isBroken);
    }
  }
}

/** `$1`, `$2`, … for each `?`. The statements of the mirror have no `?` in texts. */
function numbered(sql: string): string {
  let count = 0;
  return sql.replaceAll("?", () => `$${++count}`);
}
