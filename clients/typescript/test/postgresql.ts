// Starts an installed PostgreSQL: PGlite has one connection, so transactions never run at the same time there.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

/** The folder of initdb and postgres, which Debian does not have in the PATH. */
function findPrograms(): string | undefined {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian)
    ? readdirSync(debian).map((version) => join(debian, version, "bin"))
    : [];
  const folders = [...(process.env.PATH ?? "").split(":"), ...versions];
  return folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")));
}

export const PROGRAMS = findPrograms();
export const NOT_INSTALLED =
  PROGRAMS === undefined && "PostgreSQL is not installed. Install it with: apt-get install postgresql";

/** A running PostgreSQL, on a socket in its folder. */
export class Postgresql {
  #server: ChildProcess | undefined;
  #databases = 0;

  private constructor(readonly folder: string) {}

  static async start(): Promise<Postgresql> {
    // The path of a socket is at most 107 bytes long.
    const postgresql = new Postgresql(mkdtempSync("/tmp/rollcall-pg-"));
    const { folder } = postgresql;
    // PostgreSQL refuses to run as root.
    if (isRoot()) execFileSync("chown", ["postgres", folder]);
    chmodSync(folder, 0o700);
    const [program = "", ...args] = command("initdb", "--username", "mirror", "--auth", "trust", "--no-sync");
    execFileSync(program, [...args, "--pgdata", join(folder, "data")], { stdio: "ignore", cwd: "/" });
    process.once("exit", () => {
      if (postgresql.#server !== undefined) process.kill(postgresql.#id(), "SIGKILL");
    });
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => process.exit(1));
    await postgresql.run();
    return postgresql;
  }

  /** Starts the server, and waits until it answers. */
  async run(): Promise<void> {
    const options = [
      "-k",
      this.folder,
      "-c",
      "listen_addresses=",
      "-c",
      "fsync=off",
      "-c",
      "shared_buffers=16MB",
    ];
    const [program = "", ...args] = command("postgres", "-D", join(this.folder, "data"), ...options);
    this.#server = spawn(program, args, { stdio: "ignore", cwd: "/" });
    for (let attempt = 0; ; attempt++) {
      const isUp = await this.query("postgres", "SELECT 1").then(
        () => true,
        () => false,
      );
      if (isUp) return;
      if (attempt === 100) throw new Error("PostgreSQL does not start");
      await sleep(100);
    }
  }

  /** Ends the server, and with it all connections. */
  async halt(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const ended = new Promise((resolve) => server.once("exit", resolve));
    process.kill(this.#id(), "SIGINT");
    await ended;
    this.#server = undefined;
  }

  /** The id of the process. That of `#server` may be of the program that started it. */
  #id(): number {
    return Number.parseInt(readFileSync(join(this.folder, "data", "postmaster.pid"), "utf8"), 10);
  }

  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.folder, { recursive: true });
  }

  /** A new database. */
  async create(): Promise<string> {
    const name = `mirror${this.#databases++}`;
    await this.query("postgres", `CREATE DATABASE ${name}`);
    return name;
  }

  pool(database: string): pg.Pool {
    return new pg.Pool({ host: this.folder, user: "mirror", database });
  }

  /** The rows of a query, by a connection of its own. */
  async query(database: string, sql: string): Promise<unknown[][]> {
    const client = new pg.Client({ host: this.folder, user: "mirror", database });
    client.on("error", () => {});
    await client.connect();
    try {
      return (await client.query<unknown[]>({ text: sql, rowMode: "array" })).rows;
    } finally {
      await client.end();
    }
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function command(program: string, ...args: string[]): string[] {
  const all = [join(PROGRAMS ?? "", program), ...args];
  return isRoot() ? ["runuser", "-u", "postgres", "--", ...all] : all;
}
