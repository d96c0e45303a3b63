// What the mirror needs of a database.

/** A value of a parameter or a column. */
export type SqlValue = string | number | null;

/** A row by the names of its columns. Databases differ in how they answer large integers. */
export type Row = Readonly<Record<string, unknown>>;

/** An SQL text with `?` for each value. */
export interface Statement {
  sql: string;
  values: readonly SqlValue[];
}

/** Statements that run in one transaction. */
export interface Transaction {
  /** Runs a statement. Answers how many rows it changed. */
  run(sql: string, values?: readonly SqlValue[]): Promise<number>;
  /** The rows of a query. */
  all(sql: string, values?: readonly SqlValue[]): Promise<Row[]>;
}

/** A database that only the mirror writes through this object. */
export interface Storage {
  /** Commits what `work` did. If it throws, nothing of it stays. */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  /**
   * A statement after which other processes with the same statement wait until the transaction ends. It is needed if
   * `CREATE TABLE IF NOT EXISTS` fails in one of two transactions that run it at the same time.
   */
  readonly lockForTables?: string;
  /**
   * How an index of long texts is made, such as `USING hash `. It is needed if the usual index refuses texts of
   * thousands of characters.
   */
  readonly methodForTexts?: string;
  /**
   * An expression of SQL for the milliseconds since 1970 now. It is needed if `CAST(CURRENT_TIMESTAMP AS TEXT)` is not
   * always in the form of ISO 8601.
   */
  readonly milliseconds?: string;
}
