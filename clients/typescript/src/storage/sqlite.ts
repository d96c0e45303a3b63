// SQLite by better-sqlite3, by libsql, or by node:sqlite of Node 22: their interfaces have these methods in common.

import { setTimeout as sleep } from "node:timers/promises";
import { isBusy } from "./failures.js";
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

/** How long SQLite itself waits for another connection. Node does nothing else meanwhile, so it is short. */
const BUSY_MS = 50;
/** How long a transaction waits for another connection in all. */
const LONGEST_WAIT_MS = 10_000;
const PAUSE_MS = 20;

/**
 * Keeps the mirror in SQLite. Transactions of this object run one after another.
 *
 * It sets the connection's `busy_timeout`, and the file's `journal_mode` to WAL. So your product may read while the
 * mirror writes, and the mirror waits while your product writes.
 */
export class SqliteStorage implements Storage {
  readonly #database: SqliteDatabase;
  #last: Promise<unknown> = Promise.resolve();
  #isWal = false;

  constructor(database: SqliteDatabase) {
    this.#database = database;
    database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
  }

  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const mine = this.#last.then(() => this.#run(work));
    this.#last = mine.catch(() => {});
    return mine;
  }

  async #run<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const database = this.#database;
    await this.#begin();
    try {
      const prepare = (sql: string) => database.prepare(sql) as PreparedStatement;
      const result = await work({
        run: async (sql, values = []) => Number(prepare(sql).run(...values).changes),
        all: async (sql, values = []) => prepare(sql).all(...values) as Row[],
      });
      database.exec("COMMIT");
      return result;
    } catch (error) {
      try {
        database.exec("ROLLBACK");
      } catch {
        // After some failures, such as a full disk, SQLite has done it itself.
      }
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const end = performance.now() + LONGEST_WAIT_MS;
    for (;;) {
      try {
        // SQLite cannot switch the mode while another connection uses the file.
        if (!this.#isWal) this.#database.exec("PRAGMA journal_mode = WAL");
        this.#isWal = true;
        this.#database.exec("BEGIN IMMEDIATE");
        return;
      } catch (error) {
        if (!isBusy(error) || performance.now() > end) throw error;
      }
      await sleep(PAUSE_MS);
    }
  }
}
