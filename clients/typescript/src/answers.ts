// What answers look like: the members that the client and the mirror read. A newer server may have others, and an older
// one may lack some.

import { Answer, type Form, type Members, OrNull } from "./form.js";
import type {
  Assignments,
  Changes,
  ClientList,
  Entitlement,
  EntitlementPage,
  Group,
  GroupList,
  KeyList,
  MadeClient,
  MadeKey,
  MadeWebhook,
  MemberPage,
  Role,
  RolePage,
  RotatedClient,
  RotatedKey,
  RotatedWebhook,
  Status,
  Tenant,
  TenantPage,
  User,
  UserList,
  Webhook,
  WebhookPage,
  WebhookTest,
} from "./types.js";

const TEXT = "a text";
const NUMBER = "a whole number";
const BOOLEAN = "true or false";
const WITH_ID: Members = { id: TEXT };

// The feed

const CHANGE: Form = {
  seq: NUMBER,
  type: TEXT,
  tenant: TEXT,
  incarnation: TEXT,
  resourceType: TEXT,
  resourceId: TEXT,
  version: NUMBER,
  "added?": [TEXT],
  "removed?": [TEXT],
  "resource?": {},
};
export const STATUS = new Answer<Status>({ snapshot: TEXT });
export const CHANGES = new Answer<Changes>({ changes: [CHANGE], next: TEXT, more: BOOLEAN });

// Tenants and their keys

const TENANT_MEMBERS: Members = {
  tenant: TEXT,
  incarnation: TEXT,
  version: NUMBER,
  rootTeam: new OrNull(TEXT),
};
export const TENANT = new Answer<Tenant>(TENANT_MEMBERS);
export const TENANTS = new Answer<TenantPage>({ tenants: [TENANT_MEMBERS], "next?": TEXT });
export const KEYS = new Answer<KeyList>({ keys: [WITH_ID] });
export const MADE_KEY = new Answer<MadeKey>({ id: TEXT, key: TEXT });
export const ROTATED_KEY = new Answer<RotatedKey>({ id: TEXT, key: TEXT });
export const CLIENTS = new Answer<ClientList>({ clients: [WITH_ID] });
export const MADE_CLIENT = new Answer<MadeClient>({ id: TEXT, "clientSecret?": TEXT });
export const ROTATED_CLIENT = new Answer<RotatedClient>({ id: TEXT, clientSecret: TEXT });

// Users and groups. With `attributes` an answer has only the id for certain.

export const USER = new Answer<User>(WITH_ID);
export const USERS = new Answer<UserList>({ Resources: [WITH_ID], "nextCursor?": TEXT });
export const GROUP = new Answer<Group>(WITH_ID);
export const GROUPS = new Answer<GroupList>({ Resources: [WITH_ID], "nextCursor?": TEXT });
export const MEMBERS = new Answer<MemberPage>({ members: [{ value: TEXT }], "next?": TEXT });
const ASSIGNMENT: Form = { team: TEXT, role: TEXT };
export const ASSIGNMENTS = new Answer<Assignments>({ version: NUMBER, assignments: [ASSIGNMENT] });

// Roles and entitlements

const ROLE_MEMBERS: Members = { id: TEXT, displayName: TEXT, version: NUMBER, grants: [ASSIGNMENT] };
export const ROLE = new Answer<Role>(ROLE_MEMBERS);
export const ROLES = new Answer<RolePage>({ roles: [ROLE_MEMBERS], "next?": TEXT });
const ENTITLEMENT_MEMBERS: Members = { id: TEXT, displayName: TEXT, version: NUMBER };
export const ENTITLEMENT = new Answer<Entitlement>(ENTITLEMENT_MEMBERS);
export const ENTITLEMENTS = new Answer<EntitlementPage>({
  entitlements: [ENTITLEMENT_MEMBERS],
  "next?": TEXT,
});

// Webhooks

export const WEBHOOK = new Answer<Webhook>(WITH_ID);
export const WEBHOOKS = new Answer<WebhookPage>({ webhooks: [WITH_ID], "next?": TEXT });
export const MADE_WEBHOOK = new Answer<MadeWebhook>({ id: TEXT, secret: TEXT });
export const ROTATED_WEBHOOK = new Answer<RotatedWebhook>({ id: TEXT, secret: TEXT });
export const WEBHOOK_TEST = new Answer<WebhookTest>({ id: TEXT, state: TEXT });

// What a mirror needs to make a row. It reads all attributes.

const META: Form = { version: TEXT };
const EXTENSION = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:";
export const USER_OF_ROW = new Answer<User & { userName: string; meta: { version: string } }>({
  id: TEXT,
  userName: TEXT,
  "externalId?": TEXT,
  "displayName?": TEXT,
  "active?": BOOLEAN,
  "emails?": [{ "value?": TEXT, "primary?": BOOLEAN }],
  "roles?": [{ "value?": TEXT }],
  meta: META,
  [`${EXTENSION}User?`]: {},
});
export const GROUP_OF_ROW = new Answer<Group & { displayName: string; meta: { version: string } }>({
  id: TEXT,
  "externalId?": TEXT,
  displayName: TEXT,
  meta: META,
  [`${EXTENSION}Group?`]: { "assignments?": [ASSIGNMENT] },
});
export const DEFINITION_OF_ROW = new Answer<Role | Entitlement>({
  ...ENTITLEMENT_MEMBERS,
  "grants?": [ASSIGNMENT],
});
