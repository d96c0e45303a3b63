#!/usr/bin/env node
// rollcall-mirror: keeps a mirror in an SQLite file.

import { parseArgs } from "node:util";
import { Rollcall } from "./client.js";
import { dump } from "./mirror/dump.js";
import { Mirror } from "./mirror/mirror.js";
import { type SqliteDatabase, SqliteStorage } from "./storage/sqlite.js";

const USAGE = `rollcall-mirror --sqlite FILE [--once] [--dump]

Keeps tables in an SQLite file in step with Rollcall.
  --once  Catch up with the feed and end. Without it: follow the feed until the process is stopped.
  --dump  Print the mirror as JSON. Without --once: print the file as it is, and end.

Environment: ROLLCALL_APP_URL (ends in /app/v1), ROLLCALL_APPLICATION_KEY (rca_…).`;

class WrongUsage extends Error {}

/** Opens an SQLite file with what is installed: node:sqlite of Node 22, better-sqlite3, or libsql. */
async function open(file: string): Promise<SqliteDatabase> {
  const makers: (() => Promise<new (file: string) => SqliteDatabase>)[] = [
    async () => (await load("node:sqlite")).DatabaseSync as new (file: string) => SqliteDatabase,
    async () => (await load("better-sqlite3")).default as new (file: string) => SqliteDatabase,
    async () => (await load("libsql")).default as new (file: string) => SqliteDatabase,
  ];
  for (const maker of makers) {
    const Database = await maker().catch(() => undefined);
    if (Database === undefined) continue;
    return new Database(file);
  }
  throw new WrongUsage("No SQLite is installed. Run: npm install libsql");
}

async function load(name: string): Promise<Record<string, unknown>> {
  return (await import(name)) as Record<string, unknown>;
}

function environment(name: string): string {
  const value = process.env[name];
  if (!value) throw new WrongUsage(`Set ${name}. rollcall dev --json prints it.`);
  return value;
}

function connect(url: string, key: string): Rollcall {
  try {
    return new Rollcall({ url, key });
  } catch (error) {
    throw new WrongUsage(messageOf(error));
  }
}

async function main(): Promise<void> {
  const { values } = readArguments();
  if (values.help) {
    console.log(USAGE);
    return;
  }
  if (values.sqlite === undefined) throw new WrongUsage(`--sqlite is missing.\n\n${USAGE}`);
  const follows = !values.once && !values.dump;
  const storage = new SqliteStorage(await open(values.sqlite));
  if (values.once || follows) {
    const url = environment("ROLLCALL_APP_URL");
    const rollcall = connect(url, environment("ROLLCALL_APPLICATION_KEY"));
    const onError = (error: unknown) => console.error(`rollcall-mirror: ${messageOf(error)} Trying again.`);
    const mirror = new Mirror(rollcall, storage, { onError });
    const ending = new AbortController();
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => ending.abort());
    await (follows ? mirror.follow(ending.signal) : mirror.catchUp(ending.signal));
  }
  if (values.dump) process.stdout.write(`${await dump(storage)}\n`);
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        sqlite: { type: "string" },
        once: { type: "boolean" },
        dump: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new WrongUsage(`${messageOf(error)}\n\n${USAGE}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

main().catch((error: unknown) => {
  console.error(`rollcall-mirror: ${messageOf(error)}`);
  process.exitCode = error instanceof WrongUsage ? 2 : 1;
});
