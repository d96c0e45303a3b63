// One method for each route of the application's side, and iterators over lists and changes.

import { setTimeout as sleep } from "node:timers/promises";
import type { Options } from "./options.js";
import { path, Transport } from "./transport.js";
import type {
  Assignment,
  Assignments,
  Changes,
  ChangesQuery,
  Client,
  ClientList,
  Entitlement,
  EntitlementChange,
  EntitlementPage,
  Group,
  GroupList,
  GroupQuery,
  GroupsQuery,
  Key,
  KeyList,
  MadeClient,
  MadeKey,
  MadeWebhook,
  Member,
  MemberPage,
  MembersQuery,
  NewClient,
  NewEntitlement,
  NewKey,
  NewRole,
  NewTenant,
  NewWebhook,
  Role,
  RoleChange,
  RolePage,
  RolesQuery,
  RotatedClient,
  RotatedKey,
  RotatedWebhook,
  Rotation,
  Status,
  Tenant,
  TenantChange,
  TenantPage,
  TenantsQuery,
  User,
  UserList,
  UserQuery,
  UsersQuery,
  Webhook,
  WebhookPage,
  WebhookSettings,
  WebhookTest,
} from "./types.js";

/** For requests that a client may end. */
export interface Ending {
  signal?: AbortSignal | undefined;
}

/** For reads that answer nothing if the client has the current version. */
export interface IfNoneMatch extends Ending {
  /** `meta.version` of the copy that the client has. */
  ifNoneMatch?: string;
}

/** For changes that fail with 412 if the resource has another version. */
export interface IfMatch extends Ending {
  /** The ETag that the resource must have, such as `W/"3"`. */
  ifMatch?: string;
}

/** How to follow the feed. */
export interface FollowOptions extends Ending {
  /** The position to go on from. Without it: from the oldest change. */
  after?: string | undefined;
  tenant?: string;
  /** The most changes of a page, 1 to 500. */
  limit?: number;
  include?: "resource";
  /** Ends at the end of the feed. Without it the iterator waits for new changes. */
  once?: boolean;
  /** The pause at the end of the feed, in milliseconds. The default is 1,000. */
  pollMs?: number;
}

/** The client of one deployment. */
export class Rollcall {
  readonly #transport: Transport;

  /** @throws TypeError if a setting cannot be right. */
  constructor(options: Options) {
    this.#transport = new Transport(options);
  }

  // The feed

  status(ending: Ending = {}): Promise<Status> {
    return this.#get(path("status"), {}, ending);
  }

  /** One page of the feed. */
  listChanges(query: ChangesQuery = {}, ending: Ending = {}): Promise<Changes> {
    return this.#get(path("changes"), query, ending);
  }

  /**
   * The pages of the feed after a position. Save `next` of a page with what you did with its changes, in one
   * transaction.
   *
   * @throws LostPosition if the position is not in the feed: take a snapshot.
   */
  async *changes(options: FollowOptions = {}): AsyncGenerator<Changes, void, undefined> {
    const { signal, once = false, pollMs = 1000, after: start, ...query } = options;
    let after = start;
    for (;;) {
      const page = await this.listChanges(after === undefined ? query : { ...query, after }, { signal });
      // With `tenant` a page may have no changes and lead further.
      if (page.changes.length > 0 || page.next !== after) yield page;
      after = page.next;
      if (page.more) continue;
      if (once) return;
      await sleep(pollMs, undefined, signal ? { signal } : {});
    }
  }

  // Tenants

  listTenants(query: TenantsQuery = {}, ending: Ending = {}): Promise<TenantPage> {
    return this.#get(path("tenants"), query, ending);
  }

  /** All tenants, page by page. */
  async *tenants(ending: Ending = {}): AsyncGenerator<Tenant, void, undefined> {
    let query: TenantsQuery = {};
    for (;;) {
      const page = await this.listTenants(query, ending);
      yield* page.tenants;
      if (page.next === undefined) return;
      query = { cursor: page.next };
    }
  }

  createTenant(tenant: NewTenant): Promise<Tenant> {
    return this.#transport.send({ method: "POST", path: path("tenants"), body: tenant });
  }

  retrieveTenant(tenant: string, ending: Ending = {}): Promise<Tenant> {
    return this.#get(path("tenants", tenant), {}, ending);
  }

  updateTenant(tenant: string, change: TenantChange): Promise<Tenant> {
    return this.#transport.send({ method: "PATCH", path: path("tenants", tenant), body: change });
  }

  // Users and groups

  queryUsers(tenant: string, query: UsersQuery = {}, ending: Ending = {}): Promise<UserList> {
    return this.#get(path("tenants", tenant, "Users"), query, ending);
  }

  /** All users that match, page by page. */
  users(tenant: string, query: UsersQuery = {}, ending: Ending = {}): AsyncGenerator<User, void, undefined> {
    return byCursor((cursor) => this.queryUsers(tenant, { ...query, cursor }, ending));
  }

  /** A user; `undefined` if `ifNoneMatch` is the current version. */
  retrieveUser(tenant: string, id: string, query: UserQuery, options: IfNoneMatch): Promise<User | undefined>;
  retrieveUser(tenant: string, id: string, query?: UserQuery, options?: Ending): Promise<User>;
  retrieveUser(tenant: string, id: string, query: UserQuery = {}, options: IfNoneMatch = {}): Promise<User> {
    return this.#get(path("tenants", tenant, "Users", id), query, options);
  }

  queryGroups(tenant: string, query: GroupsQuery = {}, ending: Ending = {}): Promise<GroupList> {
    return this.#get(path("tenants", tenant, "Groups"), query, ending);
  }

  /** All groups that match, page by page. Members are read faster by `members`. */
  groups(
    tenant: string,
    query: GroupsQuery = {},
    ending: Ending = {},
  ): AsyncGenerator<Group, void, undefined> {
    return byCursor((cursor) => this.queryGroups(tenant, { ...query, cursor }, ending));
  }

  /** A group; `undefined` if `ifNoneMatch` is the current version. */
  retrieveGroup(
    tenant: string,
    id: string,
    query: GroupQuery,
    options: IfNoneMatch,
  ): Promise<Group | undefined>;
  retrieveGroup(tenant: string, id: string, query?: GroupQuery, options?: Ending): Promise<Group>;
  retrieveGroup(
    tenant: string,
    id: string,
    query: GroupQuery = {},
    options: IfNoneMatch = {},
  ): Promise<Group> {
    return this.#get(path("tenants", tenant, "Groups", id), query, options);
  }

  listMembers(
    tenant: string,
    group: string,
    query: MembersQuery = {},
    ending: Ending = {},
  ): Promise<MemberPage> {
    return this.#get(path("tenants", tenant, "Groups", group, "members"), query, ending);
  }

  /** All members of a group, page by page. */
  async *members(
    tenant: string,
    group: string,
    ending: Ending = {},
  ): AsyncGenerator<Member, void, undefined> {
    let query: MembersQuery = {};
    for (;;) {
      const page = await this.listMembers(tenant, group, query, ending);
      yield* page.members;
      if (page.next === undefined) return;
      query = { cursor: page.next };
    }
  }

  /** Replaces the roles that a group grants. */
  replaceAssignments(
    tenant: string,
    group: string,
    assignments: Assignment[],
    options: IfMatch = {},
  ): Promise<Assignments> {
    return this.#transport.send({
      method: "PUT",
      path: path("tenants", tenant, "Groups", group, "assignments"),
      body: { assignments },
      signal: options.signal,
      ...(options.ifMatch === undefined ? {} : { headers: { "if-match": options.ifMatch } }),
    });
  }

  // Roles and entitlements

  listRoles(tenant: string, query: RolesQuery = {}, ending: Ending = {}): Promise<RolePage> {
    return this.#get(path("tenants", tenant, "roles"), query, ending);
  }

  retrieveRole(tenant: string, id: string, ending: Ending = {}): Promise<Role> {
    return this.#get(path("tenants", tenant, "roles", id), {}, ending);
  }

  createRole(tenant: string, role: NewRole): Promise<Role> {
    return this.#transport.send({ method: "POST", path: path("tenants", tenant, "roles"), body: role });
  }

  /** Changes a role. What its users are granted changes at once. */
  updateRole(tenant: string, id: string, change: RoleChange, options: IfMatch = {}): Promise<Role> {
    return this.#change("PATCH", path("tenants", tenant, "roles", id), change, options);
  }

  /** Deletes a role. Users keep its value, which grants nothing then. */
  async deleteRole(tenant: string, id: string, options: IfMatch = {}): Promise<void> {
    await this.#change("DELETE", path("tenants", tenant, "roles", id), undefined, options);
  }

  listEntitlements(tenant: string, query: RolesQuery = {}, ending: Ending = {}): Promise<EntitlementPage> {
    return this.#get(path("tenants", tenant, "entitlements"), query, ending);
  }

  retrieveEntitlement(tenant: string, id: string, ending: Ending = {}): Promise<Entitlement> {
    return this.#get(path("tenants", tenant, "entitlements", id), {}, ending);
  }

  createEntitlement(tenant: string, entitlement: NewEntitlement): Promise<Entitlement> {
    const at = path("tenants", tenant, "entitlements");
    return this.#transport.send({ method: "POST", path: at, body: entitlement });
  }

  updateEntitlement(
    tenant: string,
    id: string,
    change: EntitlementChange,
    options: IfMatch = {},
  ): Promise<Entitlement> {
    return this.#change("PATCH", path("tenants", tenant, "entitlements", id), change, options);
  }

  async deleteEntitlement(tenant: string, id: string, options: IfMatch = {}): Promise<void> {
    await this.#change("DELETE", path("tenants", tenant, "entitlements", id), undefined, options);
  }

  // Keys of tenants

  async listKeys(tenant: string, ending: Ending = {}): Promise<Key[]> {
    return (await this.#get<KeyList>(path("tenants", tenant, "keys"), {}, ending)).keys;
  }

  /** A new key. Only this answer has its text, `key`. */
  createKey(tenant: string, key: NewKey): Promise<MadeKey> {
    return this.#transport.send({ method: "POST", path: path("tenants", tenant, "keys"), body: key });
  }

  /** The successor of a key. The old one works for a day, or for `overlapSeconds`. */
  rotateKey(tenant: string, key: string, rotation: Rotation = {}): Promise<RotatedKey> {
    const at = path("tenants", tenant, "keys", key, "rotate");
    return this.#transport.send({ method: "POST", path: at, body: rotation });
  }

  async revokeKey(tenant: string, key: string): Promise<void> {
    await this.#transport.send({ method: "DELETE", path: path("tenants", tenant, "keys", key) });
  }

  // OAuth clients of tenants

  async listClients(tenant: string, ending: Ending = {}): Promise<Client[]> {
    return (await this.#get<ClientList>(path("tenants", tenant, "clients"), {}, ending)).clients;
  }

  /** A new OAuth client. Only this answer has its secret, `clientSecret`. */
  createClient(tenant: string, client: NewClient): Promise<MadeClient> {
    const at = path("tenants", tenant, "clients");
    return this.#transport.send({ method: "POST", path: at, body: client });
  }

  /** Another secret. The others work for a day, or for `overlapSeconds`; with 0 they are revoked. */
  rotateClient(tenant: string, client: string, rotation: Rotation = {}): Promise<RotatedClient> {
    const at = path("tenants", tenant, "clients", client, "rotate");
    return this.#transport.send({ method: "POST", path: at, body: rotation });
  }

  async revokeClient(tenant: string, client: string): Promise<void> {
    await this.#transport.send({ method: "DELETE", path: path("tenants", tenant, "clients", client) });
  }

  // Webhooks

  listWebhooks(query: TenantsQuery = {}, ending: Ending = {}): Promise<WebhookPage> {
    return this.#get(path("webhooks"), query, ending);
  }

  /** All webhooks, page by page. */
  async *webhooks(ending: Ending = {}): AsyncGenerator<Webhook, void, undefined> {
    let query: TenantsQuery = {};
    for (;;) {
      const page = await this.listWebhooks(query, ending);
      yield* page.webhooks;
      if (page.next === undefined) return;
      query = { cursor: page.next };
    }
  }

  /** A new webhook. Only this answer has its secret. */
  createWebhook(webhook: NewWebhook): Promise<MadeWebhook> {
    return this.#transport.send({ method: "POST", path: path("webhooks"), body: webhook });
  }

  retrieveWebhook(id: string, ending: Ending = {}): Promise<Webhook> {
    return this.#get(path("webhooks", id), {}, ending);
  }

  updateWebhook(id: string, settings: WebhookSettings): Promise<Webhook> {
    return this.#transport.send({ method: "PATCH", path: path("webhooks", id), body: settings });
  }

  async deleteWebhook(id: string): Promise<void> {
    await this.#transport.send({ method: "DELETE", path: path("webhooks", id) });
  }

  /** Asks for a message without changes. `test` of the webhook shows what came of it. */
  testWebhook(id: string): Promise<WebhookTest> {
    return this.#transport.send({ method: "POST", path: path("webhooks", id, "test") });
  }

  /** A new secret. Until the overlap ends, messages have both signatures. */
  rotateWebhook(id: string, rotation: Rotation = {}): Promise<RotatedWebhook> {
    return this.#transport.send({ method: "POST", path: path("webhooks", id, "rotate"), body: rotation });
  }

  #change<T>(method: "PATCH" | "DELETE", at: string, body: object | undefined, options: IfMatch): Promise<T> {
    return this.#transport.send({
      method,
      path: at,
      ...(body === undefined ? {} : { body }),
      signal: options.signal,
      ...(options.ifMatch === undefined ? {} : { headers: { "if-match": options.ifMatch } }),
    });
  }

  #get<T>(at: string, query: object, options: IfNoneMatch): Promise<T> {
    return this.#transport.send({
      method: "GET",
      path: at,
      query: query as Record<string, string | number | undefined>,
      signal: options.signal,
      ...(options.ifNoneMatch === undefined ? {} : { headers: { "if-none-match": options.ifNoneMatch } }),
    });
  }
}

/** All resources of a SCIM query, by cursors (RFC 9865). */
async function* byCursor<T>(
  fetchPage: (cursor: string) => Promise<{ Resources: T[]; nextCursor?: string }>,
): AsyncGenerator<T, void, undefined> {
  let cursor: string | undefined = "";
  while (cursor !== undefined) {
    const page: { Resources: T[]; nextCursor?: string } = await fetchPage(cursor);
    yield* page.Resources;
    cursor = page.nextCursor;
  }
}
