// Keeps tables of the application in step with Rollcall: a snapshot, and then the feed.

import { setTimeout as sleep } from "node:timers/promises";
import type { Rollcall } from "../client.js";
import { isTemporary, LostPosition, ProblemError } from "../errors.js";
import { isPassingFailure } from "../storage/failures.js";
import type { Storage } from "../storage/storage.js";
import type { Change, Changes, Tenant } from "../types.js";
import { isOfTenant, statementsFor, type Tenants } from "./apply.js";
import { clearStale, Lease, SnapshotTaken } from "./lease.js";
import { Resyncs } from "./resync.js";
import { SCHEMA_VERSION } from "./schema.js";
import { runAll, Staging, unlessGone } from "./snapshot.js";
import {
  makeTablesAnew,
  movePosition,
  needsSnapshot,
  PositionMoved,
  prepareTables,
  readState,
  type State,
} from "./tables.js";

const CHANGES_PER_PAGE = 500;
/** After so many lost positions or lost leases in a row, something else is wrong. */
const MOST_SNAPSHOTS = 3;

/** How to follow the feed. */
export interface MirrorOptions {
  /** The pause at the end of the feed, in milliseconds. The default is 1,000. */
  pollMs?: number;
  /** Hears of failures after which `follow` goes on. */
  onError?: (error: unknown) => void;
}

/** A mirror in one database. Several do no harm: while one takes a snapshot, the others wait for it. */
export class Mirror {
  readonly #rollcall: Rollcall;
  readonly #storage: Storage;
  readonly #options: MirrorOptions;
  readonly #resyncs: Resyncs;
  #isPrepared = false;

  constructor(rollcall: Rollcall, storage: Storage, options: MirrorOptions = {}) {
    this.#rollcall = rollcall;
    this.#storage = storage;
    this.#options = options;
    this.#resyncs = new Resyncs(rollcall, storage);
  }

  /**
   * Follows the feed until `signal` ends it. Failures of Rollcall and of the database that may pass are told to
   * `onError`, and tried again after the pause, or after a longer `Retry-After`.
   */
  async follow(signal?: AbortSignal): Promise<void> {
    const { pollMs = 1000, onError = () => {} } = this.#options;
    while (!signal?.aborted) {
      let pause = pollMs;
      try {
        await this.catchUp(signal);
      } catch (error) {
        if (signal?.aborted) return;
        const isPassing = isTemporary(error) || isPassingFailure(error) || error instanceof SnapshotTaken;
        if (!isPassing) throw error;
        onError(error);
        if (error instanceof ProblemError) pause = Math.max(pollMs, (error.retryAfter ?? 0) * 1000);
      }
      await sleep(pause, undefined, signal ? { signal } : {}).catch(() => {});
    }
  }

  /**
   * Applies everything up to the end of the feed. Takes a snapshot first if there is no position, or it is lost. If
   * another mirror of the same tables takes one, waits for that.
   */
  async catchUp(signal?: AbortSignal): Promise<void> {
    if (!this.#isPrepared) await prepareTables(this.#storage);
    this.#isPrepared = true;
    let isLost = false;
    let state = await this.#state();
    for (let snapshots = 0; ; ) {
      try {
        if (isLost || needsSnapshot(state)) await this.#snapshot(state, signal);
        isLost = false;
        for (let more = true; more; ) {
          state = await this.#state();
          more = await this.#applyPage(state, signal);
        }
        if (state.staging !== "") await clearStale(this.#storage);
        await this.#resyncs.takeDue(signal);
        return;
      } catch (error) {
        isLost = error instanceof LostPosition;
        const isTaken = error instanceof SnapshotTaken;
        if ((isLost || isTaken) && ++snapshots > MOST_SNAPSHOTS) throw error;
        if (isTaken || error instanceof PositionMoved) {
          // Another mirror was faster, with changes or with a snapshot. This one goes on from there.
          state = await this.#state();
        } else if (!isLost) throw error;
        // A snapshot after a lost position begins at this state, unless another mirror takes one first.
      }
    }
  }

  #state(): Promise<State> {
    return this.#storage.transaction(readState);
  }

  /** @throws PositionMoved if another mirror has moved the position from `before` */
  async #snapshot(before: State, signal?: AbortSignal): Promise<void> {
    const lease = await Lease.take(
      this.#storage,
      async (transaction) => {
        const { position, schemaVersion } = await readState(transaction);
        return position === before.position && schemaVersion === before.schemaVersion;
      },
      signal,
    );
    if (lease === undefined) throw new PositionMoved();
    try {
      const staging = new Staging(this.#rollcall, lease, signal);
      const { snapshot } = await this.#rollcall.status({ signal });
      await staging.readAll();
      await lease.transaction(async (transaction) => {
        await movePosition(transaction, before, snapshot, 0);
        if (before.schemaVersion < SCHEMA_VERSION) await makeTablesAnew(this.#storage, transaction);
        await staging.replaceAll(transaction);
      });
    } finally {
      await lease.release();
    }
  }

  /** Applies one answer of the feed. Answers whether there is more to read now. */
  async #applyPage(state: State, signal?: AbortSignal): Promise<boolean> {
    if (needsSnapshot(state)) throw new PositionMoved();
    const query = { after: state.position, limit: CHANGES_PER_PAGE, include: "resource" } as const;
    const page = await this.#rollcall.listChanges(query, { signal });
    if (page.next !== state.position) await this.#apply(state, page, signal);
    return page.more;
  }

  async #apply(state: State, page: Changes, signal?: AbortSignal): Promise<void> {
    const unseen = page.changes.filter((change) => change.seq > state.seq);
    const seq = unseen.at(-1)?.seq ?? state.seq;
    const tenants = await this.#readTenants(unseen.filter(isOfTenant), signal);
    await this.#storage.transaction(async (transaction) => {
      await movePosition(transaction, state, page.next, seq);
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
}
