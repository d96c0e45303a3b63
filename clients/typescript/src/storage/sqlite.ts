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
/** How long SQLite waits at most for the reads in progress when it switches the file to WAL. New reads wait meanwhile. */
const LONGEST_SWITCH_MS = 500;
const PAUSE_MS = 20;

/**
 * Keeps the mirror in SQLite. Transactions of this object run one after another.
 *
 * It sets the connection's `busy_timeout`, and the file's `journal_mode` to WAL. So your product may read while the
 * mirror writes, and the mirror waits while your product writes.
 *
 * SQLite does not switch to WAL while another connection reads or writes. The first transaction waits for that, and
 * throws `SQLITE_BUSY` after 10 seconds. The next one tries again.
 */
export class SqliteStorage implements Storage {
  readonly #database: SqliteDatabase;
  #last: Promise<unknown> = Promise.resolve();
  #isModeSet = false;

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
    for (let switchMs = BUSY_MS; ; switchMs = Math.min(2 * switchMs, LONGEST_SWITCH_MS)) {
      try {
        if (!this.#isModeSet) this.#switchToWal(switchMs);
        this.#database.exec("BEGIN IMMEDIATE");
        return;
      } catch (error) {
        if (!isBusy(error) || performance.now() > end) throw error;
      }
      // Node does other things at least half of the time.
      await sleep(this.#isModeSet ? PAUSE_MS : switchMs);
    }
  }

  /**
   * If some connection always reads, the switch needs an attempt that is longer than the reads. SQLite lets no new reads
   * begin meanwhile.
   */
  #switchToWal(waitMs: number): void {
    this.#database.exec(`PRAGMA busy_timeout = ${waitMs}`);
    try {
      this.#database.exec("PRAGMA journal_mode = WAL");
      // A file in memory, and one on some network file systems, keeps its mode. The mirror works there without WAL.
      this.#isModeSet = true;
    } finally {
      this.#database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    }
  }
}
