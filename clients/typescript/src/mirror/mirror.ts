// Keeps tables of the application in step with Rollcall: a snapshot, and then the feed.

import { setTimeout as sleep } from "node:timers/promises";
import type { Rollcall } from "../client.js";
import { isTemporary, LostPosition } from "../errors.js";
import type { Storage, Transaction } from "../storage/storage.js";
import type { Change, Changes } from "../types.js";
import { type Owner, statementsFor } from "./apply.js";
import { runAll, SnapshotTaken, Staging, unlessGone } from "./snapshot.js";
import { prepareTables, STAGING } from "./tables.js";

const CHANGES_PER_PAGE = 500;
/** After so many lost positions in a row, something else is wrong. */
const MOST_SNAPSHOTS = 3;

/** How to follow the feed. */
export interface MirrorOptions {
  /** The pause at the end of the feed, in milliseconds. The default is 1,000. */
  pollMs?: number;
  /** Hears of failures after which `follow` goes on. */
  onError?: (error: unknown) => void;
}

/** How far the mirror is. */
interface Progress {
  position: string;
  /** The number of the last change that was applied; 0 after a snapshot. */
  seq: number;
}

/** Another process has moved the position. */
class PositionMoved extends Error {}

/** A mirror in one database. Run one at a time. */
export class Mirror {
  readonly #rollcall: Rollcall;
  readonly #storage: Storage;
  readonly #options: MirrorOptions;
  #isPrepared = false;

  constructor(rollcall: Rollcall, storage: Storage, options: MirrorOptions = {}) {
    this.#rollcall = rollcall;
    this.#storage = storage;
    this.#options = options;
  }

  /** Follows the feed until `signal` ends it. Failures that may pass are told to `onError`, and tried again. */
  async follow(signal?: AbortSignal): Promise<void> {
    const { pollMs = 1000, onError = () => {} } = this.#options;
    while (!signal?.aborted) {
      try {
        await this.catchUp(signal);
      } catch (error) {
        if (signal?.aborted) return;
        if (!isTemporary(error) && !(error instanceof SnapshotTaken)) throw error;
        onError(error);
      }
      await sleep(pollMs, undefined, signal ? { signal } : {}).catch(() => {});
    }
  }

  /** Applies everything up to the end of the feed. Takes a snapshot first if there is no position, or it is lost. */
  async catchUp(signal?: AbortSignal): Promise<void> {
    if (!this.#isPrepared) await prepareTables(this.#storage);
    this.#isPrepared = true;
    for (let snapshots = 0; ; ) {
      try {
        if ((await this.#progress()) === null) await this.#snapshot(signal);
        await this.#applyFeed(signal);
        await this.#resync(signal);
        return;
      } catch (error) {
        if (error instanceof PositionMoved) continue;
        if (!(error instanceof LostPosition) || ++snapshots > MOST_SNAPSHOTS) throw error;
        await this.#snapshot(signal);
      }
    }
  }

  async #progress(): Promise<Progress | null> {
    const sql = "SELECT position, seq FROM rollcall_mirror WHERE id = 1";
    const [row] = await this.#storage.transaction((transaction) => transaction.all(sql));
    const position = row?.position;
    return typeof position === "string" ? { position, seq: Number(row?.seq) } : null;
  }

  async #snapshot(signal?: AbortSignal): Promise<void> {
    const before = await this.#progress();
    const staging = await Staging.begin(this.#rollcall, this.#storage, signal);
    const { snapshot } = await this.#rollcall.status({ signal });
    await staging.readAll();
    await this.#storage.transaction(async (transaction) => {
      await move(transaction, before, { position: snapshot, seq: 0 });
      await staging.replaceAll(transaction);
    });
  }

  async #applyFeed(signal?: AbortSignal): Promise<void> {
    for (;;) {
      const progress = await this.#progress();
      if (progress === null) throw new PositionMoved();
      const query = { after: progress.position, limit: CHANGES_PER_PAGE, include: "resource" } as const;
      const page = await this.#rollcall.listChanges(query, { signal });
      if (page.next !== progress.position) await this.#applyPage(progress, page);
      if (!page.more) return;
    }
  }

  async #applyPage(progress: Progress, page: Changes): Promise<void> {
    const unseen = page.changes.filter((change) => change.seq > progress.seq);
    const seq = unseen.at(-1)?.seq ?? progress.seq;
    await this.#storage.transaction(async (transaction) => {
      await move(transaction, progress, { position: page.next, seq });
      for (const change of unseen) await runAll(transaction, statementsFor(change));
    });
  }

  /**
   * Takes the snapshots that `tenant.resync` asks for: one at once, and one when the snapshot's position has
   * passed the change. The second one has certainly seen everything that was written before the change.
   */
  async #resync(signal?: AbortSignal): Promise<void> {
    const sql = "SELECT tenant, incarnation, seq, taken FROM rollcall_resyncs";
    const rows = await this.#storage.transaction((transaction) => transaction.all(sql));
    for (const row of rows) {
      const owner = { tenant: String(row.tenant), incarnation: String(row.incarnation) };
      const { snapshot } = await this.#rollcall.status({ signal });
      const [next] = (await this.#rollcall.listChanges({ after: snapshot, limit: 1 }, { signal })).changes;
      const isLast = next === undefined || next.seq > Number(row.seq);
      if (isLast || Number(row.taken) === 0) await this.#replaceTenant(owner, snapshot, isLast, signal);
    }
  }

  async #replaceTenant(owner: Owner, snapshot: string, isLast: boolean, signal?: AbortSignal): Promise<void> {
    const progress = await this.#progress();
    if (progress === null) throw new PositionMoved();
    const tenant = await unlessGone(this.#rollcall.retrieveTenant(owner.tenant, { signal }));
    // The tenant was deleted: the feed will tell.
    if (tenant?.incarnation !== owner.incarnation) return;
    const staging = await Staging.begin(this.#rollcall, this.#storage, signal);
    if (!(await staging.readTenant(tenant))) return;
    await this.#replay(staging, owner, snapshot, progress.seq, signal);
    await this.#storage.transaction(async (transaction) => {
      await move(transaction, progress, progress);
      await staging.replaceTenant(transaction, owner);
      const done = isLast ? "DELETE FROM rollcall_resyncs" : "UPDATE rollcall_resyncs SET taken = 1";
      await transaction.run(`${done} WHERE tenant = ? AND incarnation = ?`, [
        owner.tenant,
        owner.incarnation,
      ]);
    });
  }

  /** Applies to the staging tables what the mirror has applied since the snapshot's position. */
  async #replay(
    staging: Staging,
    owner: Owner,
    after: string,
    last: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const options = { after, tenant: owner.tenant, include: "resource", once: true, signal } as const;
    for await (const page of this.#rollcall.changes(options)) {
      const applied = page.changes.filter((change) => change.seq <= last && isOf(change, owner));
      await staging.run(applied.flatMap((change) => statementsFor(change, STAGING)));
      if (page.changes.some((change) => change.seq > last)) return;
    }
  }
}

function isOf(change: Change, owner: Owner): boolean {
  return change.incarnation === owner.incarnation && change.resourceType !== "Tenant";
}

/** Moves the position in the transaction of the data. */
async function move(transaction: Transaction, from: Progress | null, to: Progress): Promise<void> {
  const was = from === null ? "position IS NULL" : "position = ?";
  const sql = `UPDATE rollcall_mirror SET position = ?, seq = ? WHERE id = 1 AND ${was}`;
  const values = [to.position, to.seq, ...(from === null ? [] : [from.position])];
  if ((await transaction.run(sql, values)) === 0) throw new PositionMoved();
}
