// Reads tenants by the API into the staging tables.

import type { Rollcall } from "../client.js";
import { isTemporary, ProblemError } from "../errors.js";
import { pagesOf, withCursor } from "../pages.js";
import type { Row, Statement, Transaction } from "../storage/storage.js";
import type { MemberPage, Tenant } from "../types.js";
import {
  type Owner,
  removeTenant,
  storeDefinitions,
  storeGroups,
  storeMembers,
  storeTenant,
  storeUsers,
} from "./apply.js";
import type { Lease } from "./lease.js";
import { COPIED, COPIED_TABLES, LIVE, STAGING } from "./tables.js";

const USERS_PER_PAGE = 200;
const MOST_READINGS = 3;

/** Runs statements one after another. */
export async function runAll(transaction: Transaction, statements: readonly Statement[]): Promise<void> {
  for (const { sql, values } of statements) await transaction.run(sql, values);
}

/** A snapshot that is being collected, by the mirror that has the lease. */
export class Staging {
  readonly #rollcall: Rollcall;
  readonly #lease: Lease;
  readonly #signal: AbortSignal | undefined;

  constructor(rollcall: Rollcall, lease: Lease, signal: AbortSignal | undefined) {
    this.#rollcall = rollcall;
    this.#lease = lease;
    this.#signal = signal;
  }

  /** Reads every tenant. */
  async readAll(): Promise<void> {
    for await (const tenant of this.#rollcall.tenants({ signal: this.#signal }))
      await this.readTenant(tenant);
  }

  /** Reads a tenant. Answers whether it was there until the end; if it was not, the feed tells the rest. */
  async readTenant(tenant: Tenant): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#readResources(tenant);
        return this.#isThere(tenant);
      } catch (error) {
        if (!(error instanceof ProblemError) || isTemporary(error)) throw error;
        if (!(await this.#isThere(tenant))) return false;
        // A cursor lasts an hour. Rows that were read already are stored again.
        if (error.status !== 400 || attempt === MOST_READINGS) throw error;
      }
    }
  }

  async #isThere({ tenant, incarnation }: Tenant): Promise<boolean> {
    const now = await unlessGone(this.#rollcall.retrieveTenant(tenant, { signal: this.#signal }));
    return now?.incarnation === incarnation;
  }

  async #readResources({ tenant, incarnation, rootTeam }: Tenant): Promise<void> {
    const owner = { tenant, incarnation };
    const [rollcall, ending] = [this.#rollcall, { signal: this.#signal }];
    await this.run(storeTenant(owner, rootTeam, STAGING));
    const query = { count: USERS_PER_PAGE };
    const withoutMembers = { ...query, excludedAttributes: "members" };
    const users = (cursor = "") => rollcall.queryUsers(tenant, { ...query, cursor }, ending);
    for await (const page of pagesOf(users, "")) await this.run(storeUsers(owner, page.Resources, STAGING));
    const groups = (cursor = "") => rollcall.queryGroups(tenant, { ...withoutMembers, cursor }, ending);
    for await (const page of pagesOf(groups, "")) {
      await this.run(storeGroups(owner, page.Resources, STAGING));
      for (const group of page.Resources) await this.#readMembers(owner, group.id);
    }
    const roles = (cursor?: string) => rollcall.listRoles(tenant, withCursor(cursor), ending);
    for await (const page of pagesOf(roles)) {
      await this.run(storeDefinitions(owner, "Role", page.roles, STAGING));
    }
    const entitlements = (cursor?: string) => rollcall.listEntitlements(tenant, withCursor(cursor), ending);
    for await (const page of pagesOf(entitlements)) {
      await this.run(storeDefinitions(owner, "Entitlement", page.entitlements, STAGING));
    }
  }

  async #readMembers(owner: Owner, group: string): Promise<void> {
    const ending = { signal: this.#signal };
    // If the group was deleted meanwhile, the feed tells that too.
    const fetchPage = async (cursor?: string): Promise<Pick<MemberPage, "members" | "next">> => {
      const answer = this.#rollcall.listMembers(owner.tenant, group, withCursor(cursor), ending);
      return (await unlessGone(answer)) ?? { members: [] };
    };
    for await (const page of pagesOf(fetchPage)) {
      await this.run(storeMembers(owner, group, page.members, STAGING));
    }
  }

  /** Runs statements on the staging tables. */
  async run(statements: readonly Statement[]): Promise<void> {
    if (statements.length === 0) return;
    await this.#lease.transaction((transaction) => runAll(transaction, statements));
  }

  /** Replaces everything by the snapshot, within a transaction of the lease. */
  async replaceAll(transaction: Transaction): Promise<void> {
    for (const table of COPIED_TABLES) {
      const columns = COPIED[table].columns.join(", ");
      await transaction.run(`DELETE FROM ${LIVE}${table}`);
      await transaction.run(
        `INSERT INTO ${LIVE}${table} (${columns}) SELECT ${columns} FROM ${STAGING}${table}`,
      );
    }
    await transaction.run("DELETE FROM rollcall_resyncs");
  }

  /** Replaces one tenant, within a transaction of the lease. Hidden accounts stay, since no snapshot has them. */
  async replaceTenant(transaction: Transaction, owner: Owner): Promise<void> {
    const which = "incarnation = ?";
    const values = [owner.incarnation];
    const hidden: Row[] = await transaction.all(
      `SELECT id FROM rollcall_users u WHERE ${which} AND hidden = 1
        AND NOT EXISTS (SELECT 1 FROM rollcall_staging_users s
          WHERE s.incarnation = u.incarnation AND s.id = u.id)`,
      values,
    );
    for (const { id } of hidden) {
      const columns = COPIED.users.columns.join(", ");
      await transaction.run(
        `INSERT INTO rollcall_staging_users (${columns}) SELECT ${columns} FROM rollcall_users WHERE ${which} AND id = ?`,
        [...values, String(id)],
      );
    }
    await runAll(transaction, removeTenant(owner, LIVE));
    for (const table of COPIED_TABLES) {
      const columns = COPIED[table].columns.join(", ");
      const from = `SELECT ${columns} FROM ${STAGING}${table} WHERE ${which}`;
      await transaction.run(`INSERT INTO ${LIVE}${table} (${columns}) ${from}`, values);
    }
  }
}

/** `undefined` if the answer is 404. */
export async function unlessGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ProblemError && error.status === 404) return undefined;
    throw error;
  }
}
