// Who takes a snapshot. Only one mirror at a time fills the staging tables of a database. Others wait for it.
//
// The column `staging` of the state is empty, or has the token of the mirror and the time when it renewed its lease.
// All times are of the database, so the clocks of the mirrors may differ.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Storage, Transaction } from "../storage/storage.js";
import { CREATE_STAGING, DROP_STAGING } from "./tables.js";

/** How long a mirror that has died holds up the others, in milliseconds. */
const LEASE_MS = 10_000;
/** Some renewals may fail before the lease ends. */
const RENEW_MS = 2_000;
/** How often a mirror that waits looks whether the other one is done. */
const LOOK_MS = 500;

/** Another mirror has taken the lease, since it was not renewed in time. */
export class SnapshotTaken extends Error {
  override name = "SnapshotTaken";
}

/** The right to fill the staging tables. It is renewed until it is released. */
export class Lease {
  readonly #storage: Storage;
  readonly #token = randomUUID();
  #last: Promise<unknown> = Promise.resolve();
  #isRenewing = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(storage: Storage) {
    this.#storage = storage;
  }

  /**
   * Waits while another mirror has the lease, takes it, and makes empty staging tables.
   *
   * `isNeeded` reads in the same transaction. If it answers `false`, another mirror has done the work: there is no lease.
   */
  static async take(
    storage: Storage,
    isNeeded: (transaction: Transaction) => Promise<boolean>,
    signal?: AbortSignal,
  ): Promise<Lease | undefined> {
    const lease = new Lease(storage);
    for (;;) {
      const outcome = await storage.transaction(async (transaction) => {
        const isLive = await isHeld(storage, transaction);
        if (!(await isNeeded(transaction))) return "done";
        if (isLive) return "held";
        await lease.#write(transaction, "WHERE id = 1", []);
        for (const sql of CREATE_STAGING) await transaction.run(sql);
        return "taken";
      });
      if (outcome === "done") return undefined;
      if (outcome === "taken") break;
      await sleep(LOOK_MS, undefined, signal ? { signal } : {});
    }
    lease.#timer = setInterval(() => lease.#renewInBackground(), RENEW_MS).unref();
    return lease;
  }

  /**
   * Runs a transaction and renews the lease in it. Transactions run one after another.
   *
   * @throws SnapshotTaken if another mirror has the lease
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const mine = this.#last.then(() =>
      this.#storage.transaction(async (transaction) => {
        const isMine = await this.#write(transaction, "WHERE staging LIKE ?", [`${this.#token} %`]);
        if (!isMine) throw new SnapshotTaken("Another mirror has taken over the snapshot.");
        return work(transaction);
      }),
    );
    this.#last = mine.catch(() => {});
    return mine;
  }

  /** Gives the lease up and drops the staging tables, unless another mirror has them now. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    // If the database fails, a later start drops them.
    await this.transaction(clear).catch(() => {});
  }

  async #write(transaction: Transaction, where: string, values: string[]): Promise<boolean> {
    const staging = `${this.#token} ${await readClock(this.#storage, transaction)}`;
    const sql = `UPDATE rollcall_mirror_state SET staging = ? ${where}`;
    return (await transaction.run(sql, [staging, ...values])) > 0;
  }

  /** Renews while a request waits for its answer. A failure shows itself in the next transaction. */
  #renewInBackground(): void {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    this.transaction(async () => {})
      .catch(() => {})
      .finally(() => {
        this.#isRenewing = false;
      });
  }
}

/** Drops the staging tables of a mirror that has died. */
export async function clearStale(storage: Storage): Promise<void> {
  await storage.transaction(async (transaction) => {
    if (!(await isHeld(storage, transaction))) await clear(transaction);
  });
}

async function clear(transaction: Transaction): Promise<void> {
  await transaction.run("UPDATE rollcall_mirror_state SET staging = ''");
  for (const sql of DROP_STAGING) await transaction.run(sql);
}

/** Whether a mirror has the lease and has renewed it lately. Others cannot take it until the transaction ends. */
async function isHeld(storage: Storage, transaction: Transaction): Promise<boolean> {
  await transaction.run("UPDATE rollcall_mirror_state SET staging = staging");
  const [row] = await transaction.all("SELECT staging FROM rollcall_mirror_state");
  const renewedAt = Number(String(row?.staging).split(" ")[1]);
  // The clock may have been set back. Earlier versions wrote no time: then this is NaN, and the lease is not held.
  return Math.abs((await readClock(storage, transaction)) - renewedAt) <= LEASE_MS;
}

/** The time of the database, in milliseconds. */
async function readClock(storage: Storage, transaction: Transaction): Promise<number> {
  const { milliseconds } = storage;
  const [row] = await transaction.all(`SELECT ${milliseconds ?? "CAST(CURRENT_TIMESTAMP AS TEXT)"} AS now`);
  return milliseconds === undefined ? readTime(row?.now) : Number(row?.now);
}

/** Reads a time: a `Date`, or a text such as `2026-11-26 12:30:00` or `2026-11-26 12:30:00.123+05:30`. */
export function readTime(value: unknown): number {
  if (value instanceof Date) return value.getTime();
  const [, day, time, zone = ""] = /^(\S+)[ T]([\d:.]+)(\S*)$/.exec(String(value)) ?? [];
  const offset = /^[+-]\d\d$/.test(zone) ? `${zone}:00` : zone || "Z";
  const read = Date.parse(`${day}T${time}${offset}`);
  if (Number.isNaN(read)) throw new Error(`The database's CURRENT_TIMESTAMP is not a time: ${String(value)}`);
  return read;
}
