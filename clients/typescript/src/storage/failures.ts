// Which failures of a database may pass.

/** Codes of SQLite: another connection has the file. `node:sqlite` has a number, the other libraries a text. */
const SQLITE_BUSY = 5;
const BUSY = /^SQLITE_BUSY/;

/** Codes of Node: the database cannot be reached. */
const UNREACHABLE =
  /^(ECONN(REFUSED|RESET|ABORTED)|EPIPE|ETIMEDOUT|E(HOST|NET)UNREACH|ENOTFOUND|EAI_AGAIN|ENOENT)$/;

/**
 * Codes of PostgreSQL (its appendix A): the connection is lost (08), a transaction was in the way (40, 55P03), something
 * is used up (53), the server stops, starts or is a standby (57P01, 57P02, 57P03, 57P05, 25006), or it took too long (57014).
 */
const PASSING_STATES = /^(08...|40...|53...|55P03|57P0[1235]|57014|25006)$/;

/** What pg says without a code. */
const LOST_CONNECTION =
  /^Connection terminated|^timeout exceeded when trying to connect|^Client has encountered a connection error/;

/** Whether another connection has locked the SQLite file. */
export function isBusy(error: unknown): boolean {
  const { code, errcode } = (error ?? {}) as { code?: unknown; errcode?: unknown };
  // The lower byte is the primary code.
  return BUSY.test(String(code)) || (typeof errcode === "number" && (errcode & 0xff) === SQLITE_BUSY);
}

/** Whether the same transaction may succeed later, on SQLite or PostgreSQL. */
export function isPassingFailure(error: unknown): boolean {
  if (isBusy(error)) return true;
  if (!(error instanceof Error)) return false;
  const code = String((error as { code?: unknown }).code);
  return UNREACHABLE.test(code) || PASSING_STATES.test(code) || LOST_CONNECTION.test(error.message);
}
