// Keeps tables of the application in step with Rollcall: a snapshot, and then the feed.

import { setTimeout as sleep } from "node:timers/promises";
import type { Rollcall } from "../client.js";
import { isTemporary, LostPosition } from "../errors.js";
import type { Storage, Transaction } from "../storage/storage.js";
import type { Change, Changes, Tenant } from "../types.js";
import { isOfTenant, type Owner, statementsFor, type Tenants } from "./apply.js";
import { SCHEMA_VERSION } from "./schema.js";
import { runAll, SnapshotTaken, Staging, unlessGone } from "./snapshot.js";
import { makeTablesAnew, needsSnapshot, prepareTables, readState, STAGING, type State } from "./tables.js";

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
    let isLost = false;
    for (let snapshots = 0; ; ) {
      try {
        if (isLost || needsSnapshot(await this.#state())) await this.#snapshot(signal);
        isLost = false;
        await this.#applyFeed(signal);
        await this.#resync(signal);
        return;
      } catch (error) {
        isLost = error instanceof LostPosition;
        // Another mirror was faster, with changes or with a snapshot. This one goes on from there.
        if (error instanceof PositionMoved) continue;
        if (!isLost || ++snapshots > MOST_SNAPSHOTS) throw error;
      }
    }
  }

  #state(): Promise<State> {
    return this.#storage.transaction(readState);
  }

  async #snapshot(signal?: AbortSignal): Promise<void> {
    const before = await this.#state();
    const staging = await Staging.begin(this.#rollcall, this.#storage, signal);
    const { snapshot } = await this.#rollcall.status({ signal });
    await staging.readAll();
    await this.#storage.transaction(async (transaction) => {
      await move(transaction, before, snapshot, 0);
      if (before.schemaVersion < SCHEMA_VERSION) await makeTablesAnew(transaction);
      await staging.replaceAll(transaction);
    });
  }

  async #applyFeed(signal?: AbortSignal): Promise<void> {
    for (;;) {
      const state = await this.#state();
      if (needsSnapshot(state)) throw new PositionMoved();
      const query = { after: state.position, limit: CHANGES_PER_PAGE, include: "resource" } as const;
      const page = await this.#rollcall.listChanges(query, { signal });
      if (page.next !== state.position) await this.#applyPage(state, page, signal);
      if (!page.more) return;
    }
  }

  async #applyPage(state: State, page: Changes, signal?: AbortSignal): Promise<void> {
    const unseen = page.changes.filter((change) => change.seq > state.seq);
    const seq = unseen.at(-1)?.seq ?? state.seq;
    const tenants = await this.#readTenants(unseen.filter(isOfTenant), signal);
    await this.#storage.transaction(async (transaction) => {
      await move(transaction, state, page.next, seq);
      for (const change of unseen) await runAll(transaction, statementsFor(change, tenants));
    });
  }

  /** The tenants of these changes, for what changes do not have. */
  async #readTenants(changes: readonly Change[], signal?: AbortSignal): Promise<Tenants> {
    const names = new Map(changes.map((change) => [change.incarnation ?? "", change.tenant]));
    const tenants = new Map<string, Tenant>();
    for (const [incarnation, name] of names) {
      const tenant = await unlessGone(this.#rollcall.retrieveTenant(name, { signal }));
      if (tenant?.incarnation === incarnation) tenants.set(incarnation, tenant);
    }
    return tenants;
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
    const state = await this.#state();
    if (needsSnapshot(state)) throw new PositionMoved();
    const tenant = await unlessGone(this.#rollcall.retrieveTenant(owner.tenant, { signal }));
    // The tenant was deleted: the feed will tell.
    if (tenant?.incarnation !== owner.incarnation) return;
    const staging = await Staging.begin(this.#rollcall, this.#storage, signal);
    if (!(await staging.readTenant(tenant))) return;
    await this.#replay(staging, owner, snapshot, state.seq, signal);
    await this.#storage.transaction(async (transaction) => {
      await move(transaction, state, state.position, state.seq);
      await staging.replaceTenant(transaction, owner);
      const done = isLast ? "DELETE FROM rollcall_resyncs" : "UPDATE rollcall_resyncs SET taken = 1";
      await transaction.run(`${done} WHERE incarnation = ?`, [owner.incarnation]);
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
      await staging.run(applied.flatMap((change) => statementsFor(change, undefined, STAGING)));
      if (page.changes.some((change) => change.seq > last)) return;
    }
  }
}

function isOf(change: Change, owner: Owner): boolean {
  return change.incarnation === owner.incarnation && change.resourceType !== "Tenant";
}

/** Moves the position in the transaction of the data. */
async function move(transaction: Transaction, before: State, position: string, seq: number): Promise<void> {
  const sql = `UPDATE rollcall_mirror_state SET position = ?, seq = ?, schema_version = ?
    WHERE position = ? AND schema_version = ?`;
  const values = [position, seq, SCHEMA_VERSION, before.position, before.schemaVersion];
  if ((await transaction.run(sql, values)) === 0) throw new PositionMoved();
}
