// SQLite by better-sqlite3, by libsql, or by node:sqlite of Node 22: their interfaces have these methods in common.

import type { Row, SqlValue, Storage, Transaction } from "./storage.js";

/** A connection to SQLite. Give the mirror one of its own. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  /** A statement with `run` and `all`. The typings of the three libraries have no common one. */
  prepare(sql: string): object;
}

interface PreparedStatement {
  run(...values: SqlValue[]): { changes: number | bigint };
  all(...values: SqlValue[]): unknown[];
}

/** Keeps the mirror in SQLite. Transactions of this object run one after another. */
export class SqliteStorage implements Storage {
  readonly #database: SqliteDatabase;
  #last: Promise<unknown> = Promise.resolve();

  constructor(database: SqliteDatabase) {
    this.#database = database;
  }

  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const mine = this.#last.then(() => this.#run(work));
    this.#last = mine.catch(() => {});
    return mine;
  }

  async #run<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const database = this.#database;
    database.exec("BEGIN IMMEDIATE");
    try {
      const prepare = (sql: string) => database.prepare(sql) as PreparedStatement;
      const result = await work({
        run: async (sql, values = []) => Number(prepare(sql).run(...values).changes),
        all: async (sql, values = []) => prepare(sql).all(...values) as Row[],
      });
      database.exec("COMMIT");
      return result;
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  }
}
