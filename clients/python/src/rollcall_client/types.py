"""Types of requests and answers. generate.py writes this file from docs/app-openapi.json."""

from __future__ import annotations

import sys
from typing import Literal, TypedDict

if sys.version_info >= (3, 11):
    from typing import NotRequired
else:
    from typing_extensions import NotRequired


class UserMeta(TypedDict):
    resourceType: NotRequired[str]
    created: NotRequired[str]
    lastModified: NotRequired[str]
    location: NotRequired[str]
    version: NotRequired[str]


class UserName(TypedDict):
    formatted: NotRequired[str]
    familyName: NotRequired[str]
    givenName: NotRequired[str]
    middleName: NotRequired[str]
    honorificPrefix: NotRequired[str]
    honorificSuffix: NotRequired[str]


class UserEmails(TypedDict):
    value: NotRequired[str]
    display: NotRequired[str]
    type: NotRequired[str]
    primary: NotRequired[bool]


class UserPhoneNumbers(TypedDict):
    value: NotRequired[str]
    display: NotRequired[str]
    type: NotRequired[str]
    primary: NotRequired[bool]


class UserIms(TypedDict):
    value: NotRequired[str]
    display: NotRequired[str]
    type: NotRequired[str]
    primary: NotRequired[bool]


class UserPhotos(TypedDict):
    value: NotRequired[str]
    display: NotRequired[str]
    type: NotRequired[str]
    primary: NotRequired[bool]


class UserAddresses(TypedDict):
    formatted: NotRequired[str]
    streetAddress: NotRequired[str]
    locality: NotRequired[str]
    region: NotRequired[str]
    postalCode: NotRequired[str]
    country: NotRequired[str]
    type: NotRequired[str]
    primary: NotRequired[bool]


UserGroups = TypedDict(
    "UserGroups",
    {
        "value": NotRequired[str],
        "$ref": NotRequired[str],
        "display": NotRequired[str],
        "type": NotRequired[str],
    },
)


class UserEntitlements(TypedDict):
    value: NotRequired[str]
    display: NotRequired[str]
    type: NotRequired[str]
    primary: NotRequired[bool]


class UserRoles(TypedDict):
    value: NotRequired[str]
    display: NotRequired[str]
    type: NotRequired[str]
    primary: NotRequired[bool]


class UserX509Certificates(TypedDict):
    value: NotRequired[str]
    display: NotRequired[str]
    type: NotRequired[str]
    primary: NotRequired[bool]


UserEnterpriseManager = TypedDict(
    "UserEnterpriseManager",
    {
        "value": NotRequired[str],
        "$ref": NotRequired[str],
        "displayName": NotRequired[str],
    },
)


class UserEnterprise(TypedDict):
    employeeNumber: NotRequired[str]
    costCenter: NotRequired[str]
    organization: NotRequired[str]
    division: NotRequired[str]
    department: NotRequired[str]
    manager: NotRequired[UserEnterpriseManager]


class UserExtensionRoles(TypedDict):
    team: NotRequired[str]
    role: NotRequired[str]


class UserExtension(TypedDict):
    account: NotRequired[str]
    roles: NotRequired[list[UserExtensionRoles]]


User = TypedDict(
    "User",
    {
        "schemas": list[str],
        "id": str,
        "externalId": NotRequired[str],
        "meta": NotRequired[UserMeta],
        "userName": NotRequired[str],
        "name": NotRequired[UserName],
        "displayName": NotRequired[str],
        "nickName": NotRequired[str],
        "profileUrl": NotRequired[str],
        "title": NotRequired[str],
        "userType": NotRequired[str],
        "preferredLanguage": NotRequired[str],
        "locale": NotRequired[str],
        "timezone": NotRequired[str],
        "active": NotRequired[bool],
        "emails": NotRequired[list[UserEmails]],
        "phoneNumbers": NotRequired[list[UserPhoneNumbers]],
        "ims": NotRequired[list[UserIms]],
        "photos": NotRequired[list[UserPhotos]],
        "addresses": NotRequired[list[UserAddresses]],
        "groups": NotRequired[list[UserGroups]],
        "entitlements": NotRequired[list[UserEntitlements]],
        "roles": NotRequired[list[UserRoles]],
        "x509Certificates": NotRequired[list[UserX509Certificates]],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": NotRequired[UserEnterprise],
        "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User": NotRequired[UserExtension],
    },
)


class UserList(TypedDict):
    schemas: list[str]
    totalResults: int
    itemsPerPage: int
    startIndex: NotRequired[int]
    nextCursor: NotRequired[str]
    Resources: list[User]


class GroupMeta(TypedDict):
    resourceType: NotRequired[str]
    created: NotRequired[str]
    lastModified: NotRequired[str]
    location: NotRequired[str]
    version: NotRequired[str]


GroupMembers = TypedDict(
    "GroupMembers",
    {
        "value": NotRequired[str],
        "$ref": NotRequired[str],
        "type": NotRequired[str],
        "display": NotRequired[str],
    },
)


class GroupExtensionAssignments(TypedDict):
    team: NotRequired[str]
    role: NotRequired[str]


class GroupExtension(TypedDict):
    assignments: NotRequired[list[GroupExtensionAssignments]]


Group = TypedDict(
    "Group",
    {
        "schemas": list[str],
        "id": str,
        "externalId": NotRequired[str],
        "meta": NotRequired[GroupMeta],
        "displayName": NotRequired[str],
        "members": NotRequired[list[GroupMembers]],
        "urn:ietf:params:scim:schemas:extension:rollcall:2.0:Group": NotRequired[GroupExtension],
    },
)


class GroupList(TypedDict):
    schemas: list[str]
    totalResults: int
    itemsPerPage: int
    startIndex: NotRequired[int]
    nextCursor: NotRequired[str]
    Resources: list[Group]


class Place(TypedDict):
    seq: int
    time: NotRequired[str]
    position: str


class Delivery(TypedDict):
    name: str
    seq: int
    changesBehind: int
    lastSuccess: str | None
    lastError: str | None


class NewTenant(TypedDict):
    tenant: str
    policy: NotRequired[Literal["veza", "standard", "strict"]]
    plan: NotRequired[Literal["default", "high"]]
    adminEmail: NotRequired[str]


class Settings(TypedDict):
    retentionDays: NotRequired[int]
    rootTeamProtected: NotRequired[bool]
    breakerPercent: NotRequired[int | None]
    breakerLiftedUntil: NotRequired[str | None]


class TenantChange(TypedDict):
    retentionDays: NotRequired[int]
    rootTeamProtected: NotRequired[bool]
    breakerPercent: NotRequired[int | None]
    breakerLiftedUntil: NotRequired[str | None]
    plan: NotRequired[Literal["default", "high"]]


class Tenant(TypedDict):
    tenant: str
    status: Literal["active", "beingDeleted"]
    incarnation: str
    version: int
    policy: Literal["veza", "standard", "strict"]
    plan: Literal["default", "high"]
    created: str
    rootTeam: str | None
    settings: Settings


class TenantPage(TypedDict):
    tenants: list[Tenant]
    next: NotRequired[str]


class NewKey(TypedDict):
    name: str
    scope: NotRequired[Literal["provision", "read"]]
    expires: NotRequired[str | None]
    user: NotRequired[str | None]


class Key(TypedDict):
    id: str
    name: str
    scope: Literal["provision", "read"]
    status: Literal["active", "expired", "revoked"]
    version: int
    created: str
    expires: str | None
    user: str | None
    lastUsed: str | None


class KeyList(TypedDict):
    keys: list[Key]


class MadeKey(TypedDict):
    id: str
    name: str
    scope: Literal["provision", "read"]
    status: Literal["active", "expired", "revoked"]
    version: int
    created: str
    expires: str | None
    user: str | None
    key: str


class Rotation(TypedDict):
    overlapSeconds: NotRequired[int]


class RotatedKey(TypedDict):
    id: str
    name: str
    scope: Literal["provision", "read"]
    status: Literal["active", "expired", "revoked"]
    version: int
    created: str
    expires: str | None
    user: str | None
    key: str
    replaces: str
    oldKeyExpires: str


class Federation(TypedDict):
    subject: str
    audience: str
    issuer: str
    jwksUrl: str
    entraDirectory: str | None


class NewFederation(TypedDict):
    subject: str
    audience: str
    issuer: NotRequired[str]
    jwksUrl: NotRequired[str]
    entraDirectory: NotRequired[str]


class NewClient(TypedDict):
    name: str
    scope: NotRequired[Literal["provision", "read"]]
    tokenHours: NotRequired[int]
    secretYears: NotRequired[int]
    federation: NotRequired[NewFederation | None]


class ClientSecrets(TypedDict):
    id: str
    created: str
    expires: str


class Client(TypedDict):
    id: str
    name: str
    scope: Literal["provision", "read"]
    status: Literal["active", "expired", "revoked"]
    version: int
    created: str
    tokenHours: int
    secrets: list[ClientSecrets]
    federation: Federation | None
    lastUsed: str | None


class ClientList(TypedDict):
    clients: list[Client]


class MadeClientSecrets(TypedDict):
    id: str
    created: str
    expires: str


class MadeClient(TypedDict):
    id: str
    name: str
    scope: Literal["provision", "read"]
    status: Literal["active", "expired", "revoked"]
    version: int
    created: str
    tokenHours: int
    secrets: list[MadeClientSecrets]
    federation: Federation | None
    clientSecret: NotRequired[str]


class RotatedClientSecrets(TypedDict):
    id: str
    created: str
    expires: str


class RotatedClient(TypedDict):
    id: str
    name: str
    scope: Literal["provision", "read"]
    status: Literal["active", "expired", "revoked"]
    version: int
    created: str
    tokenHours: int
    secrets: list[RotatedClientSecrets]
    federation: Federation | None
    clientSecret: str
    secretId: str
    otherSecretsExpire: str


class Assignment(TypedDict):
    team: str
    role: str


class NewAssignments(TypedDict):
    assignments: list[Assignment]


class Assignments(TypedDict):
    version: int
    assignments: list[Assignment]


class Member(TypedDict):
    value: str
    type: Literal["User", "Group"]
    display: NotRequired[str]


class MemberPage(TypedDict):
    version: int
    members: list[Member]
    next: NotRequired[str]


class NewRole(TypedDict):
    id: str
    displayName: str
    description: NotRequired[str | None]
    grants: NotRequired[list[Assignment]]


class RoleChange(TypedDict):
    displayName: NotRequired[str]
    description: NotRequired[str | None]
    grants: NotRequired[list[Assignment]]


class Role(TypedDict):
    id: str
    displayName: str
    description: str | None
    grants: list[Assignment]
    version: int
    created: str
    lastModified: str


class RolePage(TypedDict):
    roles: list[Role]
    next: NotRequired[str]


class NewEntitlement(TypedDict):
    id: str
    displayName: str
    description: NotRequired[str | None]
    type: NotRequired[str | None]


class EntitlementChange(TypedDict):
    displayName: NotRequired[str]
    description: NotRequired[str | None]
    type: NotRequired[str | None]


class Entitlement(TypedDict):
    id: str
    displayName: str
    description: str | None
    type: str | None
    version: int
    created: str
    lastModified: str


class EntitlementPage(TypedDict):
    entitlements: list[Entitlement]
    next: NotRequired[str]


class NewWebhook(TypedDict):
    url: str
    includeResource: NotRequired[bool]


class WebhookSettings(TypedDict):
    url: NotRequired[str]
    includeResource: NotRequired[bool]
    enabled: NotRequired[bool]


class WebhookTest(TypedDict):
    id: str
    state: Literal["pending", "taken", "failed"]
    requested: str
    finished: str | None
    status: int | None
    error: str | None


class Webhook(TypedDict):
    id: str
    version: int
    url: str
    includeResource: bool
    enabled: bool
    disabledReason: str | None
    created: str
    seq: int | None
    lastSuccess: str | None
    lastError: str | None
    failedAttempts: int
    nextAttempt: str | None
    test: WebhookTest | None


class WebhookPage(TypedDict):
    webhooks: list[Webhook]
    next: NotRequired[str]


class MadeWebhook(TypedDict):
    id: str
    version: int
    url: str
    includeResource: bool
    enabled: bool
    disabledReason: str | None
    created: str
    seq: int | None
    lastSuccess: str | None
    lastError: str | None
    failedAttempts: int
    nextAttempt: str | None
    test: WebhookTest | None
    secret: str


class RotatedWebhook(TypedDict):
    id: str
    version: int
    url: str
    includeResource: bool
    enabled: bool
    disabledReason: str | None
    created: str
    seq: int | None
    lastSuccess: str | None
    lastError: str | None
    failedAttempts: int
    nextAttempt: str | None
    test: WebhookTest | None
    secret: str
    oldSecretUntil: str | None


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str


class Change(TypedDict):
    seq: int
    id: str
    type: str
    tenant: str
    incarnation: str
    resourceType: str
    resourceId: str
    version: int
    part: NotRequired[int]
    parts: NotRequired[int]
    time: str
    actor: str
    requestId: str
    attributes: NotRequired[list[str]]
    added: NotRequired[list[str]]
    removed: NotRequired[list[str]]
    addedCount: NotRequired[int]
    removedCount: NotRequired[int]
    warning: NotRequired[str]
    resource: NotRequired[User | Group | Role | Entitlement | None]


class Changes(TypedDict):
    changes: list[Change]
    next: str
    more: bool


class Status(TypedDict):
    snapshot: str
    newest: Place | None
    oldest: Place
    lagSeconds: int
    deliveries: list[Delivery]
