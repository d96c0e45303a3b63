"""What answers look like: the members that the client and the mirror read.

Members that are not named here are not looked at. So a newer server may have others, and an older one may lack some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import types
from .form import Answer, Form, Members, OrNull

EXTENSION = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:"
"""The start of the names of Rollcall's own extensions of users and groups."""

# The feed

STATUS = Answer[types.Status]({"snapshot": str})
CHANGE: Form = {
    "seq": int,
    "type": str,
    "tenant": str,
    "incarnation": str,
    "resourceType": str,
    "resourceId": str,
    "version": int,
    "added?": [str],
    "removed?": [str],
    "resource?": {},
}
CHANGES = Answer[types.Changes]({"changes": [CHANGE], "next": str, "more": bool})

# Tenants and their keys

_TENANT: Members = {"tenant": str, "incarnation": str, "version": int, "rootTeam": OrNull(str)}
TENANT = Answer[types.Tenant](_TENANT)
TENANTS = Answer[types.TenantPage]({"tenants": [_TENANT], "next?": str})
KEYS = Answer[types.KeyList]({"keys": [{"id": str}]})
MADE_KEY = Answer[types.MadeKey]({"id": str, "key": str})
ROTATED_KEY = Answer[types.RotatedKey]({"id": str, "key": str})
CLIENTS = Answer[types.ClientList]({"clients": [{"id": str}]})
MADE_CLIENT = Answer[types.MadeClient]({"id": str, "clientSecret?": str})
ROTATED_CLIENT = Answer[types.RotatedClient]({"id": str, "clientSecret": str})

# Users and groups. With `attributes` an answer has only the id for certain.

USER = Answer[types.User]({"id": str})
USERS = Answer[types.UserList]({"Resources": [{"id": str}], "nextCursor?": str})
GROUP = Answer[types.Group]({"id": str})
GROUPS = Answer[types.GroupList]({"Resources": [{"id": str}], "nextCursor?": str})
MEMBERS = Answer[types.MemberPage]({"members": [{"value": str}], "next?": str})
_ASSIGNMENT: Form = {"team": str, "role": str}
ASSIGNMENTS = Answer[types.Assignments]({"version": int, "assignments": [_ASSIGNMENT]})

# Roles and entitlements

_ROLE: Members = {"id": str, "displayName": str, "version": int, "grants": [_ASSIGNMENT]}
ROLE = Answer[types.Role](_ROLE)
ROLES = Answer[types.RolePage]({"roles": [_ROLE], "next?": str})
_ENTITLEMENT: Members = {"id": str, "displayName": str, "version": int}
ENTITLEMENT = Answer[types.Entitlement](_ENTITLEMENT)
ENTITLEMENTS = Answer[types.EntitlementPage]({"entitlements": [_ENTITLEMENT], "next?": str})

# Webhooks

WEBHOOK = Answer[types.Webhook]({"id": str})
WEBHOOKS = Answer[types.WebhookPage]({"webhooks": [{"id": str}], "next?": str})
MADE_WEBHOOK = Answer[types.MadeWebhook]({"id": str, "secret": str})
ROTATED_WEBHOOK = Answer[types.RotatedWebhook]({"id": str, "secret": str})
WEBHOOK_TEST = Answer[types.WebhookTest]({"id": str, "state": str})

# Messages of webhooks

MESSAGE = Answer[dict[str, Any]]({"type": str, "data": {}})
MESSAGE_OF_CHANGES = Answer[dict[str, Any]]({"data": {"changes": [{"seq": int}]}})

# What a mirror needs to make a row. It reads all attributes.

_META: Form = {"version": str}
USER_OF_ROW = Answer[Mapping[str, Any]](
    {
        "id": str,
        "userName": str,
        "externalId?": str,
        "displayName?": str,
        "active?": bool,
        "emails?": [{"value?": str, "primary?": bool}],
        "roles?": [{"value?": str}],
        "meta": _META,
        f"{EXTENSION}User?": {},
    }
)
GROUP_OF_ROW = Answer[Mapping[str, Any]](
    {
        "id": str,
        "externalId?": str,
        "displayName": str,
        "meta": _META,
        f"{EXTENSION}Group?": {"assignments?": [_ASSIGNMENT]},
    }
)
DEFINITION_OF_ROW = Answer[Mapping[str, Any]]({**_ENTITLEMENT, "grants?": [_ASSIGNMENT]})
