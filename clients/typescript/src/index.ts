export { type Ending, type FollowOptions, type IfMatch, type IfNoneMatch, Rollcall } from "./client.js";
export { ConnectionError, isTemporary, LostPosition, ProblemError, UnexpectedAnswer } from "./errors.js";
export { dump } from "./mirror/dump.js";
export { Mirror, type MirrorOptions } from "./mirror/mirror.js";
export { userNameKey } from "./mirror/names.js";
export { LaterTables } from "./mirror/tables.js";
export type { Options } from "./options.js";
export { type PostgresPool, PostgresStorage } from "./storage/postgres.js";
export { type SqliteDatabase, SqliteStorage } from "./storage/sqlite.js";
export type { Row, SqlValue, Storage, Transaction } from "./storage/storage.js";
export type * from "./types.js";
export {
  type VerifyOptions,
  verifyWebhook,
  type WebhookMessage,
  WebhookVerificationError,
  WebhookVerifier,
} from "./verify.js";
