// Takes the snapshot of one tenant again, after tenant.resync for example.

import type { Rollcall } from "../client.js";
import type { Row, Storage, Transaction } from "../storage/storage.js";
import type { Change } from "../types.js";
import { type Owner, statementsFor } from "./apply.js";
import { Lease } from "./lease.js";
import { Staging, unlessGone } from "./snapshot.js";
import { movePosition, needsSnapshot, PositionMoved, readState, STAGING, type State } from "./tables.js";

/** How often the mirror looks whether the second snapshot of a tenant is due. */
const LOOK_MS = 10_000;

/** A tenant that is to be read again. */
interface Resync extends Owner {
  /** The number of the change that asked for it. */
  seq: number;
  /** Whether the first snapshot was taken. */
  isTaken: boolean;
}

/**
 * Takes the snapshots that `tenant.resync` asks for: one at once, and one when the snapshot's position has
 * passed the change. The second one has certainly seen everything that was written before the change.
 */
export class Resyncs {
  readonly #rollcall: Rollcall;
  readonly #storage: Storage;
  #nextLook = 0;
  #newestSeen = -1;

  constructor(rollcall: Rollcall, storage: Storage) {
    this.#rollcall = rollcall;
    this.#storage = storage;
  }

  /** Takes the snapshots that are due. New requests are looked at immediately, others every ten seconds. */
  async takeDue(signal?: AbortSignal): Promise<void> {
    const sql = "SELECT tenant, incarnation, seq, taken FROM rollcall_resyncs";
    const resyncs = (await this.#storage.transaction((transaction) => transaction.all(sql))).map(readResync);
    if (resyncs.length === 0) return;
    const newest = Math.max(...resyncs.map(({ seq }) => seq));
    if (newest <= this.#newestSeen && performance.now() < this.#nextLook) return;
    const { snapshot } = await this.#rollcall.status({ signal });
    const [next] = (await this.#rollcall.listChanges({ after: snapshot, limit: 1 }, { signal })).changes;
    for (const resync of resyncs) {
      const isLast = next === undefined || next.seq > resync.seq;
      if (isLast || !resync.isTaken) await this.#replaceTenant(resync, snapshot, isLast, signal);
    }
    // After a failure the mirror looks again without this pause.
    this.#nextLook = performance.now() + LOOK_MS;
    this.#newestSeen = newest;
  }

  async #replaceTenant(
    resync: Resync,
    snapshot: string,
    isLast: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const tenant = await unlessGone(this.#rollcall.retrieveTenant(resync.tenant, { signal }));
    // The tenant was deleted: the feed will tell.
    if (tenant?.incarnation !== resync.incarnation) return;
    let before: State | undefined;
    const isNeeded = async (transaction: Transaction) => {
      before = await readState(transaction);
      return isStillNoted(transaction, resync);
    };
    const lease = await Lease.take(this.#storage, isNeeded, signal);
    if (lease === undefined || before === undefined) return;
    const state = before;
    try {
      if (needsSnapshot(state)) throw new PositionMoved();
      const staging = new Staging(this.#rollcall, lease, signal);
      if (!(await staging.readTenant(tenant))) return;
      await this.#replay(staging, resync, snapshot, state.seq, signal);
      await lease.transaction(async (transaction) => {
        await movePosition(transaction, state, state.position, state.seq);
        await staging.replaceTenant(transaction, resync);
        const done = isLast ? "DELETE FROM rollcall_resyncs" : "UPDATE rollcall_resyncs SET taken = 1";
        await transaction.run(`${done} WHERE incarnation = ?`, [resync.incarnation]);
      });
    } finally {
      await lease.release();
    }
  }

  /** Applies to the staging tables what the mirror has applied since the snapshot's position. */
  async #replay(
    staging: Staging,
    owner: Owner,
    after: string,
    last: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const options = { after, tenant: owner.tenant, include: "resource", once: true, signal } as const;
    for await (const page of this.#rollcall.changes(options)) {
      const applied = page.changes.filter((change) => change.seq <= last && isOf(change, owner));
      await staging.run(applied.flatMap((change) => statementsFor(change, undefined, STAGING)));
      if (page.changes.some((change) => change.seq > last)) return;
    }
  }
}

function readResync(row: Row): Resync {
  return {
    tenant: String(row.tenant),
    incarnation: String(row.incarnation),
    seq: Number(row.seq),
    isTaken: Number(row.taken) === 1,
  };
}

/** Whether the request is there as it was read. Another mirror may have taken the snapshot meanwhile. */
async function isStillNoted(
  transaction: Transaction,
  { incarnation, seq, isTaken }: Resync,
): Promise<boolean> {
  const sql = "SELECT 1 FROM rollcall_resyncs WHERE incarnation = ? AND seq = ? AND taken = ?";
  return (await transaction.all(sql, [incarnation, seq, isTaken ? 1 : 0])).length > 0;
}

function isOf(change: Change, owner: Owner): boolean {
  return change.incarnation === owner.incarnation && change.resourceType !== "Tenant";
}
