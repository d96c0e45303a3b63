// One method for each route of the application's side, and iterators over lists and changes.

import { setTimeout as sleep } from "node:timers/promises";
import * as answers from "./answers.js";
import { UnexpectedAnswer } from "./errors.js";
import type { Answer } from "./form.js";
import type { Options } from "./options.js";
import { DOES_NOT_GO_ON, pagesOf, withCursor } from "./pages.js";
import { path, Transport } from "./transport.js";
import type {
  Assignment,
  Assignments,
  Changes,
  ChangesQuery,
  Client,
  Entitlement,
  EntitlementChange,
  EntitlementPage,
  Group,
  GroupList,
  GroupQuery,
  GroupsQuery,
  Key,
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
    return this.#get(answers.STATUS, path("status"), {}, ending);
  }

  /** One page of the feed. */
  async listChanges(query: ChangesQuery = {}, ending: Ending = {}): Promise<Changes> {
    const page = await this.#get(answers.CHANGES, path("changes"), query, ending);
    if (page.more && page.next === query.after) throw new UnexpectedAnswer(DOES_NOT_GO_ON);
    return page;
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
    return this.#get(answers.TENANTS, path("tenants"), query, ending);
  }

  /** All tenants, page by page. */
  async *tenants(ending: Ending = {}): AsyncGenerator<Tenant, void, undefined> {
    const fetchPage = (cursor: string | undefined) => this.listTenants(withCursor(cursor), ending);
    for await (const page of pagesOf(fetchPage)) yield* page.tenants;
  }

  createTenant(tenant: NewTenant): Promise<Tenant> {
    return this.#send(answers.TENANT, "POST", path("tenants"), tenant);
  }

  retrieveTenant(tenant: string, ending: Ending = {}): Promise<Tenant> {
    return this.#get(answers.TENANT, path("tenants", tenant), {}, ending);
  }

  updateTenant(tenant: string, change: TenantChange): Promise<Tenant> {
    return this.#send(answers.TENANT, "PATCH", path("tenants", tenant), change);
  }

  // Users and groups

  queryUsers(tenant: string, query: UsersQuery = {}, ending: Ending = {}): Promise<UserList> {
    return this.#get(answers.USERS, path("tenants", tenant, "Users"), query, ending);
  }

  /** All users that match, page by page. */
  users(tenant: string, query: UsersQuery = {}, ending: Ending = {}): AsyncGenerator<User, void, undefined> {
    return resourcesOf((cursor) => this.queryUsers(tenant, { ...query, cursor }, ending));
  }

  /** A user; `undefined` if `ifNoneMatch` is the current version. */
  retrieveUser(tenant: string, id: string, query: UserQuery, options: IfNoneMatch): Promise<User | undefined>;
  retrieveUser(tenant: string, id: string, query?: UserQuery, options?: Ending): Promise<User>;
  retrieveUser(tenant: string, id: string, query: UserQuery = {}, options: IfNoneMatch = {}): Promise<User> {
    return this.#get(answers.USER, path("tenants", tenant, "Users", id), query, options);
  }

  queryGroups(tenant: string, query: GroupsQuery = {}, ending: Ending = {}): Promise<GroupList> {
    return this.#get(answers.GROUPS, path("tenants", tenant, "Groups"), query, ending);
  }

  /** All groups that match, page by page. Members are read faster by `members`. */
  groups(
    tenant: string,
    query: GroupsQuery = {},
    ending: Ending = {},
  ): AsyncGenerator<Group, void, undefined> {
    return resourcesOf((cursor) => this.queryGroups(tenant, { ...query, cursor }, ending));
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
    return this.#get(answers.GROUP, path("tenants", tenant, "Groups", id), query, options);
  }

  listMembers(
    tenant: string,
    group: string,
    query: MembersQuery = {},
    ending: Ending = {},
  ): Promise<MemberPage> {
    return this.#get(answers.MEMBERS, path("tenants", tenant, "Groups", group, "members"), query, ending);
  }

  /** All members of a group, page by page. */
  async *members(
    tenant: string,
    group: string,
    ending: Ending = {},
  ): AsyncGenerator<Member, void, undefined> {
    const fetchPage = (cursor: string | undefined) =>
      this.listMembers(tenant, group, withCursor(cursor), ending);
    for await (const page of pagesOf(fetchPage)) yield* page.members;
  }

  /** Replaces the roles that a group grants. */
  replaceAssignments(
    tenant: string,
    group: string,
    assignments: Assignment[],
    options: IfMatch = {},
  ): Promise<Assignments> {
    return this.#send(
      answers.ASSIGNMENTS,
      "PUT",
      path("tenants", tenant, "Groups", group, "assignments"),
      { assignments },
      options,
    );
  }

  // Roles and entitlements

  listRoles(tenant: string, query: RolesQuery = {}, ending: Ending = {}): Promise<RolePage> {
    return this.#get(answers.ROLES, path("tenants", tenant, "roles"), query, ending);
  }

  retrieveRole(tenant: string, id: string, ending: Ending = {}): Promise<Role> {
    return this.#get(answers.ROLE, path("tenants", tenant, "roles", id), {}, ending);
  }

  createRole(tenant: string, role: NewRole): Promise<Role> {
    return this.#send(answers.ROLE, "POST", path("tenants", tenant, "roles"), role);
  }

  /** Changes a role. What its users are granted changes at once. */
  updateRole(tenant: string, id: string, change: RoleChange, options: IfMatch = {}): Promise<Role> {
    return this.#send(answers.ROLE, "PATCH", path("tenants", tenant, "roles", id), change, options);
  }

  /** Deletes a role. Users keep its value, which grants nothing then. */
  async deleteRole(tenant: string, id: string, options: IfMatch = {}): Promise<void> {
    await this.#delete(path("tenants", tenant, "roles", id), options);
  }

  listEntitlements(tenant: string, query: RolesQuery = {}, ending: Ending = {}): Promise<EntitlementPage> {
    return this.#get(answers.ENTITLEMENTS, path("tenants", tenant, "entitlements"), query, ending);
  }

  retrieveEntitlement(tenant: string, id: string, ending: Ending = {}): Promise<Entitlement> {
    return this.#get(answers.ENTITLEMENT, path("tenants", tenant, "entitlements", id), {}, ending);
  }

  createEntitlement(tenant: string, entitlement: NewEntitlement): Promise<Entitlement> {
    const at = path("tenants", tenant, "entitlements");
    return this.#send(answers.ENTITLEMENT, "POST", at, entitlement);
  }

  updateEntitlement(
    tenant: string,
    id: string,
    change: EntitlementChange,
    options: IfMatch = {},
  ): Promise<Entitlement> {
    return this.#send(
      answers.ENTITLEMENT,
      "PATCH",
      path("tenants", tenant, "entitlements", id),
      change,
      options,
    );
  }

  async deleteEntitlement(tenant: string, id: string, options: IfMatch = {}): Promise<void> {
    await this.#delete(path("tenants", tenant, "entitlements", id), options);
  }

  // Keys of tenants

  async listKeys(tenant: string, ending: Ending = {}): Promise<Key[]> {
    return (await this.#get(answers.KEYS, path("tenants", tenant, "keys"), {}, ending)).keys;
  }

  /** A new key. Only this answer has its text, `key`. */
  createKey(tenant: string, key: NewKey): Promise<MadeKey> {
    return this.#send(answers.MADE_KEY, "POST", path("tenants", tenant, "keys"), key);
  }

  /** The successor of a key. The old one works for a day, or for `overlapSeconds`. */
  rotateKey(tenant: string, key: string, rotation: Rotation = {}): Promise<RotatedKey> {
    const at = path("tenants", tenant, "keys", key, "rotate");
    return this.#send(answers.ROTATED_KEY, "POST", at, rotation);
  }

  async revokeKey(tenant: string, key: string): Promise<void> {
    await this.#delete(path("tenants", tenant, "keys", key));
  }

  // OAuth clients of tenants

  async listClients(tenant: string, ending: Ending = {}): Promise<Client[]> {
    return (await this.#get(answers.CLIENTS, path("tenants", tenant, "clients"), {}, ending)).clients;
  }

  /** A new OAuth client. Only this answer has its secret, `clientSecret`. */
  createClient(tenant: string, client: NewClient): Promise<MadeClient> {
    const at = path("tenants", tenant, "clients");
    return this.#send(answers.MADE_CLIENT, "POST", at, client);
  }

  /** Another secret. The others work for a day, or for `overlapSeconds`; with 0 they are revoked. */
  rotateClient(tenant: string, client: string, rotation: Rotation = {}): Promise<RotatedClient> {
    const at = path("tenants", tenant, "clients", client, "rotate");
    return this.#send(answers.ROTATED_CLIENT, "POST", at, rotation);
  }

  async revokeClient(tenant: string, client: string): Promise<void> {
    await this.#delete(path("tenants", tenant, "clients", client));
  }

  // Webhooks

  listWebhooks(query: TenantsQuery = {}, ending: Ending = {}): Promise<WebhookPage> {
    return this.#get(answers.WEBHOOKS, path("webhooks"), query, ending);
  }

  /** All webhooks, page by page. */
  async *webhooks(ending: Ending = {}): AsyncGenerator<Webhook, void, undefined> {
    const fetchPage = (cursor: string | undefined) => this.listWebhooks(withCursor(cursor), ending);
    for await (const page of pagesOf(fetchPage)) yield* page.webhooks;
  }

  /** A new webhook. Only this answer has its secret. */
  createWebhook(webhook: NewWebhook): Promise<MadeWebhook> {
    return this.#send(answers.MADE_WEBHOOK, "POST", path("webhooks"), webhook);
  }

  retrieveWebhook(id: string, ending: Ending = {}): Promise<Webhook> {
    return this.#get(answers.WEBHOOK, path("webhooks", id), {}, ending);
  }

  updateWebhook(id: string, settings: WebhookSettings): Promise<Webhook> {
    return this.#send(answers.WEBHOOK, "PATCH", path("webhooks", id), settings);
  }

  async deleteWebhook(id: string): Promise<void> {
    await this.#delete(path("webhooks", id));
  }

  /** Asks for a message without changes. `test` of the webhook shows what came of it. */
  testWebhook(id: string): Promise<WebhookTest> {
    return this.#send(answers.WEBHOOK_TEST, "POST", path("webhooks", id, "test"));
  }

  /** A new secret. Until the overlap ends, messages have both signatures. */
  rotateWebhook(id: string, rotation: Rotation = {}): Promise<RotatedWebhook> {
    return this.#send(answers.ROTATED_WEBHOOK, "POST", path("webhooks", id, "rotate"), rotation);
  }

  #send<T>(
    answer: Answer<T>,
    method: "POST" | "PUT" | "PATCH",
    at: string,
    body?: object,
    { signal, ifMatch }: IfMatch = {},
  ): Promise<T> {
    const headers = matching(ifMatch);
    return this.#transport.send({ answer, method, path: at, body, headers, signal });
  }

  #delete(at: string, { signal, ifMatch }: IfMatch = {}): Promise<void> {
    return this.#transport.send({ method: "DELETE", path: at, headers: matching(ifMatch), signal });
  }

  #get<T>(answer: Answer<T>, at: string, query: object, options: IfNoneMatch): Promise<T> {
    return this.#transport.send({
      answer,
      method: "GET",
      path: at,
      query: query as Record<string, string | number | undefined>,
      signal: options.signal,
      ...(options.ifNoneMatch === undefined ? {} : { headers: { "if-none-match": options.ifNoneMatch } }),
    });
  }
}

/** All resources of a SCIM query, page by page. */
async function* resourcesOf<T>(
  fetchPage: (cursor: string) => Promise<{ Resources: T[]; nextCursor?: string }>,
): AsyncGenerator<T, void, undefined> {
  for await (const page of pagesOf((cursor = "") => fetchPage(cursor), "")) yield* page.Resources;
}

function matching(ifMatch: string | undefined): Record<string, string> {
  return ifMatch === undefined ? {} : { "if-match": ifMatch };
}
