// The objects of the API, by their names in docs/app-openapi.json.

import type { components, operations } from "./openapi.js";

type Schemas = components["schemas"];

export type Tenant = Schemas["Tenant"];
export type TenantPage = Schemas["TenantPage"];
export type NewTenant = Schemas["NewTenant"];
export type Settings = Schemas["Settings"];
export type TenantChange = Schemas["TenantChange"];
export type User = Schemas["User"];
export type UserList = Schemas["UserList"];
export type Group = Schemas["Group"];
export type GroupList = Schemas["GroupList"];
export type Member = Schemas["Member"];
export type MemberPage = Schemas["MemberPage"];
export type Assignment = Schemas["Assignment"];
export type Assignments = Schemas["Assignments"];
export type Role = Schemas["Role"];
export type RolePage = Schemas["RolePage"];
export type NewRole = Schemas["NewRole"];
export type RoleChange = Schemas["RoleChange"];
export type Entitlement = Schemas["Entitlement"];
export type EntitlementPage = Schemas["EntitlementPage"];
export type NewEntitlement = Schemas["NewEntitlement"];
export type EntitlementChange = Schemas["EntitlementChange"];
export type Key = Schemas["Key"];
export type KeyList = Schemas["KeyList"];
export type NewKey = Schemas["NewKey"];
export type MadeKey = Schemas["MadeKey"];
export type Rotation = Schemas["Rotation"];
export type RotatedKey = Schemas["RotatedKey"];
export type Client = Schemas["Client"];
export type ClientList = Schemas["ClientList"];
export type NewClient = Schemas["NewClient"];
export type MadeClient = Schemas["MadeClient"];
export type RotatedClient = Schemas["RotatedClient"];
export type Change = Schemas["Change"];
export type Changes = Schemas["Changes"];
export type Status = Schemas["Status"];
export type Delivery = Status["deliveries"][number];
export type Webhook = Schemas["Webhook"];
export type WebhookPage = Schemas["WebhookPage"];
export type WebhookTest = Schemas["WebhookTest"];
export type WebhookSettings = Schemas["WebhookSettings"];
export type NewWebhook = Schemas["NewWebhook"];
export type MadeWebhook = Schemas["MadeWebhook"];
export type RotatedWebhook = Schemas["RotatedWebhook"];

type Query<Name extends keyof operations> = NonNullable<operations[Name]["parameters"]["query"]>;

export type ChangesQuery = Query<"app.listChanges">;
export type TenantsQuery = Query<"app.listTenants">;
export type UsersQuery = Query<"app.queryUsers">;
export type GroupsQuery = Query<"app.queryGroups">;
export type UserQuery = Query<"app.retrieveUser">;
export type GroupQuery = Query<"app.retrieveGroup">;
export type MembersQuery = Query<"app.listMembers">;
export type RolesQuery = Query<"app.listRoles">;
