"""Which rows a change of the feed changes. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import answers
from ..errors import MissingResource, UnexpectedAnswer
from .names import role_id_key, user_name_key

EXTENSION = answers.EXTENSION

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")

DELETED_TYPES = ("role.deleted", "entitlement.deleted")
"""Changes that need no state. Those of users and groups do not look at it."""


@dataclass(frozen=True)
class UserRow:
    """A row of rollcall_users."""

    incarnation: str
    id: str
    user_name: str
    user_name_key: str
    external_id: str | None
    display_name: str | None
    email: str | None
    active: bool
    version: int
    resource: str
    roles: tuple[str, ...] = ()
    """The ids of roles that it has, in lower case."""


@dataclass(frozen=True)
class GroupRow:
    """A row of rollcall_groups, and the roles that the group grants: pairs of team and role."""

    incarnation: str
    id: str
    external_id: str | None
    display_name: str
    version: int
    resource: str
    assignments: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DefinitionRow:
    """A row of rollcall_definitions, and what a role grants: pairs of team and role."""

    incarnation: str
    kind: str
    id: str
    display_name: str
    version: int
    resource: str
    grants: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PutTenant:
    """The tenant exists. Rows of its users and groups stay."""

    incarnation: str
    tenant: str
    seq: int
    """The number of the change that says so."""
    version: int
    """The version of the tenant after the change."""
    root_team: str | None = None
    is_seen: bool = False
    """Whether a read of the tenant showed this version or a later one. Until then the root team is not known."""


@dataclass(frozen=True)
class EraseTenant:
    """All rows of this incarnation go."""

    incarnation: str


@dataclass(frozen=True)
class PutUser:
    """The user has this state."""

    row: UserRow


@dataclass(frozen=True)
class HideUser:
    """The account is kept but hidden: it is inactive and has no roles."""

    incarnation: str
    id: str


@dataclass(frozen=True)
class EraseUser:
    """The row of the user goes."""

    incarnation: str
    id: str


@dataclass(frozen=True)
class PutGroup:
    """The group has this state."""

    row: GroupRow


@dataclass(frozen=True)
class EraseGroup:
    """The row of the group and its assignments go. Its memberships stay until group.deleted."""

    incarnation: str
    id: str


@dataclass(frozen=True)
class PutDefinition:
    """The role or entitlement has this state."""

    row: DefinitionRow


@dataclass(frozen=True)
class EraseDefinition:
    """The row of the role or entitlement goes, and what it grants."""

    incarnation: str
    kind: str
    id: str


@dataclass(frozen=True)
class AddMembers:
    """These are members of the group."""

    incarnation: str
    group: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class RemoveMembers:
    """These are no longer members of the group."""

    incarnation: str
    group: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class EndMemberships:
    """The group has no members any more."""

    incarnation: str
    group: str


@dataclass(frozen=True)
class Resync:
    """The snapshot of this tenant must be taken again."""

    incarnation: str
    tenant: str


Step = (
    PutTenant | EraseTenant | PutUser | HideUser | EraseUser | PutGroup | EraseGroup
    | PutDefinition | EraseDefinition | AddMembers | RemoveMembers | EndMemberships | Resync
)


def steps_of(change: Mapping[str, Any]) -> list[Step]:
    """The steps that bring the tables to the state after a change.

    The type matters only where the state does not tell what happened. So a type of a later server is applied too if it
    says something of a user, group, role or entitlement. All else that is not known has no steps.

    Raises MissingResource if the change of a user, group, role or entitlement has no field `resource`, and
    UnexpectedAnswer if its state has another form.
    """
    kind, incarnation, id = change["resourceType"], change.get("incarnation", ""), change["resourceId"]
    match kind:
        case "User":
            return [_user_step(change, incarnation, id)]
        case "Group":
            return _group_steps(change, incarnation, id)
        case "Role" | "Entitlement":
            state = _state(change)
            if state is None:
                return [EraseDefinition(incarnation, kind, id)]
            return [PutDefinition(definition_row(incarnation, kind, state))]
        case "Tenant":
            return _tenant_steps(change, incarnation)
        case _:
            return []


def _tenant_steps(change: Mapping[str, Any], incarnation: str) -> list[Step]:
    match change["type"]:
        case "tenant.created" | "tenant.updated":
            return [PutTenant(incarnation, change["tenant"], change["seq"], change["version"])]
        case "tenant.resync":
            return [Resync(incarnation, change["tenant"])]
        case "tenant.deleted":
            return [EraseTenant(incarnation)]
        case _:
            return []


def _user_step(change: Mapping[str, Any], incarnation: str, id: str) -> Step:
    if change["type"] in ("user.deleted", "user.purged"):
        return EraseUser(incarnation, id)
    state = _state(change)
    if state is not None:
        return PutUser(user_row(incarnation, state))
    # The account is kept but hidden, or a later change erases it.
    return HideUser(incarnation, id)


def _group_steps(change: Mapping[str, Any], incarnation: str, id: str) -> list[Step]:
    if change["type"] == "group.deleted":
        return [EraseGroup(incarnation, id), EndMemberships(incarnation, id)]
    steps: list[Step] = []
    if change.get("added"):
        steps.append(AddMembers(incarnation, id, tuple(change["added"])))
    if change.get("removed"):
        steps.append(RemoveMembers(incarnation, id, tuple(change["removed"])))
    state = _state(change)
    steps.append(EraseGroup(incarnation, id) if state is None else PutGroup(group_row(incarnation, state)))
    return steps


def _state(change: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "resource" not in change:
        if change["type"] in DELETED_TYPES:
            return None
        raise MissingResource(f"the change {change['seq']} has no resource, which include=resource asks for")
    state: Mapping[str, Any] | None = change["resource"]
    return state


def user_row(incarnation: str, user: Mapping[str, Any]) -> UserRow:
    """The row of a SCIM user. Its JSON has no groups and no roles: a change of a group would not renew them.

    Raises UnexpectedAnswer if the user has another form.
    """
    user = _storable(answers.USER_OF_ROW.read(user, "user"))
    emails = user.get("emails") or []
    primary = next((email for email in emails if email.get("primary")), emails[0] if emails else {})
    kept = {name: value for name, value in user.items() if name != "groups"}
    extension = kept.get(EXTENSION + "User")
    if extension is not None:
        kept[EXTENSION + "User"] = {name: value for name, value in extension.items() if name != "roles"}
    return UserRow(
        incarnation=incarnation,
        id=user["id"],
        user_name=user["userName"],
        user_name_key=user_name_key(user["userName"]),
        external_id=user.get("externalId"),
        display_name=user.get("displayName"),
        email=primary.get("value"),
        active=user.get("active") is not False,
        version=_version(user, "user"),
        resource=_json(kept),
        roles=tuple(sorted(_role_ids(user))),
    )


def group_row(incarnation: str, group: Mapping[str, Any]) -> GroupRow:
    """The row of a SCIM group, without its members. Raises UnexpectedAnswer if the group has another form."""
    group = _storable(answers.GROUP_OF_ROW.read(group, "group"))
    assignments = (group.get(EXTENSION + "Group") or {}).get("assignments") or []
    return GroupRow(
        incarnation=incarnation,
        id=group["id"],
        external_id=group.get("externalId"),
        display_name=group["displayName"],
        version=_version(group, "group"),
        resource=_json({name: value for name, value in group.items() if name != "members"}),
        assignments=tuple(sorted({(one["team"], one["role"]) for one in assignments})),
    )


def definition_row(incarnation: str, kind: str, definition: Mapping[str, Any]) -> DefinitionRow:
    """The row of a role or an entitlement. Raises UnexpectedAnswer if it has another form."""
    definition = _storable(answers.DEFINITION_OF_ROW.read(definition, kind.lower()))
    return DefinitionRow(
        incarnation=incarnation,
        kind=kind,
        id=definition["id"],
        display_name=definition["displayName"],
        version=definition["version"],
        resource=_json(definition),
        grants=tuple(sorted({(one["team"], one["role"]) for one in definition.get("grants") or []})),
    )


def _role_ids(user: Mapping[str, Any]) -> set[str]:
    keys = (role_id_key(role.get("value") or "") for role in user.get("roles") or [])
    return {key for key in keys if key is not None}


def _version(resource: Mapping[str, Any], kind: str) -> int:
    """The number in the ETag `W/"3"`."""
    version = re.fullmatch(r'W/"([0-9]{1,15})"', resource["meta"]["version"])
    if version is None:
        raise UnexpectedAnswer(f"{kind}.meta.version is not a version such as W/\"3\"")
    return int(version[1])


def _storable(value: Any) -> Any:
    """The value with U+FFFD for each U+0000, which PostgreSQL cannot store, and for each lone surrogate."""
    if isinstance(value, str):
        return _NOT_STORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, Mapping):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
