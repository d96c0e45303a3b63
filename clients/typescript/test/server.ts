// Starts the real `rollcall dev`, plays an identity provider, and reads the truth by the API.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { Rollcall } from "../src/index.js";
import { canonical } from "../src/mirror/dump.js";

const BINARY = process.env.ROLLCALL_BIN ?? "rollcall";
const ROLES = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";

/** What `rollcall dev --json` prints. */
interface Printed {
  base_url: string;
  app_url: string;
  key: string;
  application_key: string;
  tenant: string;
  dynamodb_endpoint: string;
  table: string;
}

/** A running `rollcall dev`. */
export class Server {
  private constructor(
    readonly printed: Printed,
    readonly child: ChildProcess,
  ) {}

  static async start(): Promise<Server> {
    const args = ["dev", "--json", "--in-memory", "--port", "0", "--rate-limit", "off"];
    const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "ignore"] });
    process.once("exit", () => child.kill("SIGKILL"));
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => process.exit(1));
    const failed = new Promise<never>((_, reject) => {
      child.once("error", () => reject(new Error(`${BINARY} does not start: set ROLLCALL_BIN`)));
      child.once("exit", (code) => reject(new Error(`rollcall dev ended with ${code}`)));
    });
    failed.catch(() => {});
    const line = new Promise<string>((resolve) => {
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).once("line", resolve);
    });
    return new Server(JSON.parse(await Promise.race([line, failed])) as Printed, child);
  }

  stop(): void {
    this.child.kill("SIGKILL");
  }

  client(url = this.printed.app_url): Rollcall {
    return new Rollcall({ url, key: this.printed.application_key });
  }

  /** An identity provider of the demo tenant. */
  scim(): Scim {
    return new Scim(this.printed.base_url, this.printed.key);
  }

  /** Runs the operator's tool. */
  async tool(...args: string[]): Promise<string> {
    const { dynamodb_endpoint, table } = this.printed;
    const [command = "", ...rest] = args;
    const all = [command, "--table", table, "--endpoint-url", dynamodb_endpoint, "--json", ...rest];
    const none = {
      AWS_ACCESS_KEY_ID: "none",
      AWS_SECRET_ACCESS_KEY: "none",
      AWS_DEFAULT_REGION: "eu-west-1",
    };
    return (await promisify(execFile)(BINARY, all, { env: { ...process.env, ...none } })).stdout;
  }
}

/** An identity provider. */
export class Scim {
  constructor(
    readonly url: string,
    readonly key: string,
  ) {}

  async send(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    for (;;) {
      const response = await fetch(`${this.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${this.key}`, "content-type": "application/scim+json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      if (response.status === 503 || response.status === 429) continue;
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
    }
  }

  async user(name: string): Promise<string> {
    const user = await this.send("POST", "/Users", {
      schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"],
      userName: `${name}@example.com`,
      name: { givenName: name, familyName: "Tester" },
      displayName: name,
      emails: [{ value: `${name}@example.com`, primary: true }],
      active: true,
    });
    return user.id as string;
  }

  /** Some users, made side by side. */
  users(prefix: string, count: number): Promise<string[]> {
    return Promise.all(Array.from({ length: count }, (_, number) => this.user(`${prefix}${number}`)));
  }

  async group(name: string, members: string[]): Promise<string> {
    const group = await this.send("POST", "/Groups", {
      schemas: ["urn:ietf:params:scim:schemas:core:2.0:Group"],
      displayName: name,
      members: members.map((value) => ({ value })),
    });
    return group.id as string;
  }

  async patch(path: string, op: string, attribute: string, value?: unknown): Promise<void> {
    await this.send("PATCH", path, {
      schemas: ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
      Operations: [{ op, path: attribute, ...(value === undefined ? {} : { value }) }],
    });
  }

  members(group: string, op: "add" | "remove", ids: string[]): Promise<void> {
    return this.patch(
      `/Groups/${group}`,
      op,
      "members",
      ids.map((value) => ({ value })),
    );
  }

  active(user: string, active: boolean): Promise<void> {
    return this.patch(`/Users/${user}`, "replace", "active", active);
  }

  async remove(path: string): Promise<void> {
    await this.send("DELETE", path);
  }
}

type Shown = { [name: string]: Shown } | Shown[] | string | number | boolean | null;

/** What the API says, in the form of the dump. Roles are those that the server computes. */
export async function truth(rollcall: Rollcall): Promise<string> {
  const tenants: { [name: string]: Shown } = {};
  for await (const { tenant, incarnation } of rollcall.tenants()) {
    const users: { [id: string]: Shown } = {};
    const roles: { [id: string]: Shown } = {};
    for await (const user of rollcall.users(tenant)) {
      const active = user.active !== false;
      users[user.id] = { userName: user.userName ?? null, active, version: version(user.meta?.version) };
      const granted = (user[ROLES]?.roles ?? []).map(({ team = "", role = "" }) => [team, role]);
      if (active && granted.length > 0) roles[user.id] = granted.sort();
    }
    const groups: { [id: string]: Shown } = {};
    for await (const group of rollcall.groups(tenant, { excludedAttributes: "members" })) {
      groups[group.id] = { displayName: group.displayName ?? null, version: version(group.meta?.version) };
    }
    const members: { [id: string]: Shown } = {};
    for (const id of Object.keys(groups)) {
      const shown: string[] = [];
      for await (const { value } of rollcall.members(tenant, id)) {
        if (value in users) shown.push(value);
      }
      members[id] = shown.sort();
    }
    const defined: { [id: string]: Shown } = {};
    const show = (kind: string) => (one: { id: string; displayName: string; version: number }) => {
      defined[`${kind} ${one.id}`] = { displayName: one.displayName, version: one.version };
    };
    (await rollcall.listRoles(tenant)).roles.forEach(show("Role"));
    (await rollcall.listEntitlements(tenant)).entitlements.forEach(show("Entitlement"));
    tenants[tenant] = { incarnation, users, groups, members, roles, defined };
  }
  return canonical({ tenants });
}

function version(etag: string | undefined): number {
  return Number(/\d+/.exec(etag ?? "")?.[0]);
}
