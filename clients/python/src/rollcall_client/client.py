"""The routes of the application's API."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, overload
from urllib.parse import quote

from . import answers, types
from .errors import UnexpectedAnswer
from .form import Answer, read_json
from .transport import ATTEMPTS, TIMEOUT_SECONDS, Transport

USERS_PER_PAGE = 200
MEMBERS_PER_PAGE = 1000
CHANGES_PER_PAGE = 500
PAUSE_AT_END_SECONDS = 1.0

DOES_NOT_GO_ON = "it says that there is more, and does not go on"
"""A cache that ignores the query of a request answers the same page again and again."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class FollowedChange:
    """A change, and the position to save with it."""

    change: types.Change
    next: str
    """Inside an answer this is the start of the answer: after a crash its changes come again, which does no harm."""

    @property
    def seq(self) -> int:
        """The number of the change."""
        return self.change["seq"]

    @property
    def type(self) -> str:
        """What happened."""
        return self.change["type"]

    @property
    def resource(self) -> types.User | types.Group | types.Role | types.Entitlement | None:
        """The state of the user, group, role or entitlement now.

        None if it is gone or hidden, and None too for changes that have no state. `is_gone` tells them apart.
        """
        return self.change.get("resource")

    @property
    def is_gone(self) -> bool:
        """Whether the user, group, role or entitlement of this change is gone or hidden now.

        False for changes of keys, clients, tenants, application keys and webhooks: they never have a state.
        """
        return "resource" in self.change and self.change["resource"] is None


class Rollcall:
    """A client with one application key.

    Methods that read many things return iterators, which ask for the next page when they need it. Refusals are raised
    as `ProblemError`, lost connections as `ConnectionLost`, and answers of something else as `UnexpectedAnswer`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        transport: Transport | None = None,
        *,
        attempts: int = ATTEMPTS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`url` ends with /app/v1. `key` is an application key (`rca_…`).

        `attempts` is how often a request is sent at most. `timeout_seconds` is how long each wait for the
        server may take, and how long the whole answer, which has a second more for each 100 KB. A `transport` has
        these settings itself. Raises ValueError if a setting cannot be right.
        """
        self._transport = transport or Transport(url, key, attempts=attempts, timeout_seconds=timeout_seconds)

    @classmethod
    def from_env(cls, *, attempts: int = ATTEMPTS, timeout_seconds: float = TIMEOUT_SECONDS) -> Rollcall:
        """Reads ROLLCALL_APP_URL and ROLLCALL_APPLICATION_KEY. Raises ValueError if a setting cannot be right."""
        url, key = os.environ.get("ROLLCALL_APP_URL"), os.environ.get("ROLLCALL_APPLICATION_KEY")
        if not url or not key:
            advice = "`rollcall dev --json` prints app_url and application_key."
            raise ValueError(f"Set ROLLCALL_APP_URL and ROLLCALL_APPLICATION_KEY. {advice}")
        return cls(url, key, attempts=attempts, timeout_seconds=timeout_seconds)

    def __enter__(self) -> Rollcall:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    # The feed

    def status(self) -> types.Status:
        """Where the feed stands, and the position from which to follow it after a snapshot."""
        return answers.STATUS.read(self._get("/status"))

    def changes_page(
        self,
        after: str | None = None,
        *,
        limit: int = CHANGES_PER_PAGE,
        tenant: str | None = None,
        include_resource: bool = True,
    ) -> types.Changes:
        """One answer of the feed. Raises LostPosition if it cannot be read from `after`."""
        include = "resource" if include_resource else None
        query = {"after": after, "limit": limit, "tenant": tenant, "include": include}
        page = answers.CHANGES.read(self._get("/changes", **query))
        if page["more"] and page["next"] == after:
            raise UnexpectedAnswer(DOES_NOT_GO_ON)
        return page

    def changes(self, after: str | None = None, *, tenant: str | None = None, follow: bool = True) -> Iterator[FollowedChange]:
        """The changes after a position, with their resources. With `follow` it waits for new ones and does not end.

        With `tenant`, other tenants move the position too, and no change of this tenant shows it. To save such
        positions, read `feed_pages`.
        """
        for page in self.feed_pages(after, tenant=tenant, follow=follow):
            start, last = after or "", len(page["changes"]) - 1
            for index, change in enumerate(page["changes"]):
                yield FollowedChange(change, page["next"] if index == last else start)
            after = page["next"]

    def feed_pages(self, after: str | None = None, *, tenant: str | None = None, follow: bool = True) -> Iterator[types.Changes]:
        """The answers of the feed that move the position, one after another. Save `next` of each.

        With `tenant` an answer without changes may move it: other tenants have changes. With `follow` it waits for new
        changes and does not end.
        """
        while True:
            page = self.changes_page(after, tenant=tenant)
            if page["changes"] or page["next"] != after:
                yield page
            after = page["next"]
            if not page["more"]:
                if not follow:
                    return
                time.sleep(PAUSE_AT_END_SECONDS)

    # Tenants and their keys

    def tenants(self) -> Iterator[types.Tenant]:
        """All tenants, by name."""
        return self._pages(answers.TENANTS, "/tenants", "tenants")

    def tenant(self, tenant: str) -> types.Tenant:
        """A tenant."""
        return answers.TENANT.read(self._get(_path("tenants", tenant)))

    def create_tenant(self, new: types.NewTenant) -> types.Tenant:
        """Makes a tenant. The same content again answers the same tenant."""
        return answers.TENANT.read(self._send("POST", "/tenants", new))

    def update_tenant(self, tenant: str, change: types.TenantChange) -> types.Tenant:
        """Changes settings or the plan of a tenant."""
        return answers.TENANT.read(self._send("PATCH", _path("tenants", tenant), change))

    def keys(self, tenant: str) -> list[types.Key]:
        """The SCIM keys of a tenant, without their texts."""
        return answers.KEYS.read(self._get(_path("tenants", tenant, "keys")))["keys"]

    def create_key(self, tenant: str, new: types.NewKey) -> types.MadeKey:
        """Makes a SCIM key. Only this answer has its text."""
        return answers.MADE_KEY.read(self._send("POST", _path("tenants", tenant, "keys"), new))

    def rotate_key(self, tenant: str, key: str, rotation: types.Rotation | None = None) -> types.RotatedKey:
        """Makes the successor of a key. The old key works until the overlap ends."""
        path = _path("tenants", tenant, "keys", key, "rotate")
        return answers.ROTATED_KEY.read(self._send("POST", path, rotation or {}))

    def revoke_key(self, tenant: str, key: str) -> None:
        """Revokes a key."""
        self._delete(_path("tenants", tenant, "keys", key))

    def clients(self, tenant: str) -> list[types.Client]:
        """The OAuth clients of a tenant, without their secrets."""
        return answers.CLIENTS.read(self._get(_path("tenants", tenant, "clients")))["clients"]

    def create_client(self, tenant: str, new: types.NewClient) -> types.MadeClient:
        """Makes an OAuth client. Only this answer has its secret."""
        return answers.MADE_CLIENT.read(self._send("POST", _path("tenants", tenant, "clients"), new))

    def rotate_client(self, tenant: str, client: str, rotation: types.Rotation | None = None) -> types.RotatedClient:
        """Gives an OAuth client a new secret. The others work until the overlap ends."""
        path = _path("tenants", tenant, "clients", client, "rotate")
        return answers.ROTATED_CLIENT.read(self._send("POST", path, rotation or {}))

    def revoke_client(self, tenant: str, client: str) -> None:
        """Revokes an OAuth client with its access tokens."""
        self._delete(_path("tenants", tenant, "clients", client))

    # Users and groups

    def users(self, tenant: str, filter: str | None = None, attributes: str | None = None) -> Iterator[types.User]:
        """The users that match a SCIM filter, or all."""
        return self._resources(answers.USERS, tenant, "Users", filter=filter, attributes=attributes)

    @overload
    def user(self, tenant: str, id: str) -> types.User: ...

    @overload
    def user(self, tenant: str, id: str, *, if_none_match: str | None) -> types.User | None: ...

    def user(self, tenant: str, id: str, *, if_none_match: str | None = None) -> types.User | None:
        """A user; None if `if_none_match` is its `meta.version`."""
        return self._retrieve(answers.USER, _path("tenants", tenant, "Users", id), if_none_match)

    def groups(self, tenant: str, filter: str | None = None, attributes: str | None = None) -> Iterator[types.Group]:
        """The groups that match a SCIM filter, or all, without their members."""
        excluded = "members" if attributes is None else None
        return self._resources(answers.GROUPS, tenant, "Groups", filter=filter, attributes=attributes, excludedAttributes=excluded)

    @overload
    def group(self, tenant: str, id: str) -> types.Group: ...

    @overload
    def group(self, tenant: str, id: str, *, if_none_match: str | None) -> types.Group | None: ...

    def group(self, tenant: str, id: str, *, if_none_match: str | None = None) -> types.Group | None:
        """A group with its members; None if `if_none_match` is its `meta.version`."""
        return self._retrieve(answers.GROUP, _path("tenants", tenant, "Groups", id), if_none_match)

    def members(self, tenant: str, group: str) -> Iterator[types.Member]:
        """The members of a group, by id."""
        path = _path("tenants", tenant, "Groups", group, "members")
        return self._pages(answers.MEMBERS, path, "members", limit=MEMBERS_PER_PAGE)

    def replace_assignments(
        self, tenant: str, group: str, assignments: list[types.Assignment], *, if_match: str | None = None
    ) -> types.Assignments:
        """Replaces the roles that a group grants, if the group has the version `if_match`."""
        path = _path("tenants", tenant, "Groups", group, "assignments")
        return answers.ASSIGNMENTS.read(self._send("PUT", path, {"assignments": assignments}, if_match))

    # Roles and entitlements

    def roles(self, tenant: str) -> Iterator[types.Role]:
        """The roles of a tenant with what they grant, by id."""
        return self._pages(answers.ROLES, _path("tenants", tenant, "roles"), "roles")

    def role(self, tenant: str, id: str) -> types.Role:
        """A role."""
        return answers.ROLE.read(self._get(_path("tenants", tenant, "roles", id)))

    def create_role(self, tenant: str, new: types.NewRole) -> types.Role:
        """Makes a role. Identity providers can give it to users."""
        return answers.ROLE.read(self._send("POST", _path("tenants", tenant, "roles"), new))

    def update_role(self, tenant: str, id: str, change: types.RoleChange, *, if_match: str | None = None) -> types.Role:
        """Changes a role, if it has the version `if_match`. What its users are granted changes at once."""
        return answers.ROLE.read(self._send("PATCH", _path("tenants", tenant, "roles", id), change, if_match))

    def delete_role(self, tenant: str, id: str, *, if_match: str | None = None) -> None:
        """Deletes a role, if it has the version `if_match`. Users keep its value, which grants nothing then."""
        self._delete(_path("tenants", tenant, "roles", id), if_match=if_match)

    def entitlements(self, tenant: str) -> Iterator[types.Entitlement]:
        """The entitlements of a tenant, by id."""
        return self._pages(answers.ENTITLEMENTS, _path("tenants", tenant, "entitlements"), "entitlements")

    def entitlement(self, tenant: str, id: str) -> types.Entitlement:
        """An entitlement."""
        return answers.ENTITLEMENT.read(self._get(_path("tenants", tenant, "entitlements", id)))

    def create_entitlement(self, tenant: str, new: types.NewEntitlement) -> types.Entitlement:
        """Makes an entitlement. Identity providers can give it to users."""
        return answers.ENTITLEMENT.read(self._send("POST", _path("tenants", tenant, "entitlements"), new))

    def update_entitlement(
        self, tenant: str, id: str, change: types.EntitlementChange, *, if_match: str | None = None
    ) -> types.Entitlement:
        """Changes an entitlement, if it has the version `if_match`."""
        return answers.ENTITLEMENT.read(self._send("PATCH", _path("tenants", tenant, "entitlements", id), change, if_match))

    def delete_entitlement(self, tenant: str, id: str, *, if_match: str | None = None) -> None:
        """Deletes an entitlement, if it has the version `if_match`. Users keep its value."""
        self._delete(_path("tenants", tenant, "entitlements", id), if_match=if_match)

    # Webhooks

    def webhooks(self) -> Iterator[types.Webhook]:
        """All webhooks, without their secrets."""
        return self._pages(answers.WEBHOOKS, "/webhooks", "webhooks")

    def webhook(self, id: str) -> types.Webhook:
        """A webhook: how far it is, its last error, its last test."""
        return answers.WEBHOOK.read(self._get(_path("webhooks", id)))

    def create_webhook(self, new: types.NewWebhook) -> types.MadeWebhook:
        """Makes a webhook. Only this answer has its secret."""
        return answers.MADE_WEBHOOK.read(self._send("POST", "/webhooks", new))

    def update_webhook(self, id: str, settings: types.WebhookSettings) -> types.Webhook:
        """Changes a webhook. The next attempt is made within a minute."""
        return answers.WEBHOOK.read(self._send("PATCH", _path("webhooks", id), settings))

    def delete_webhook(self, id: str) -> None:
        """Deletes a webhook with its position and its secrets."""
        self._delete(_path("webhooks", id))

    def test_webhook(self, id: str) -> types.WebhookTest:
        """Asks for a message without changes. The webhook shows later what came of it."""
        return answers.WEBHOOK_TEST.read(self._send("POST", _path("webhooks", id, "test")))

    def rotate_webhook(self, id: str, rotation: types.Rotation | None = None) -> types.RotatedWebhook:
        """Makes a new secret, which only this answer has. The old one signs too until the overlap ends."""
        path = _path("webhooks", id, "rotate")
        return answers.ROTATED_WEBHOOK.read(self._send("POST", path, rotation or {}))

    # Transport

    def _get(self, path: str, **query: Any) -> Any:
        return read_json(self._transport.send("GET", path, query=query).body)

    def _retrieve(self, answer: Answer[_Answer], path: str, if_none_match: str | None) -> _Answer | None:
        """The resource; None if it has the version `if_none_match`, an ETag such as `W/"3"`."""
        if if_none_match is None:
            return answer.read(self._get(path))
        response = self._transport.send("GET", path, headers={"If-None-Match": if_none_match})
        return None if response.status == 304 else answer.read(read_json(response.body))

    def _send(self, method: str, path: str, body: Any = None, if_match: str | None = None) -> Any:
        """What a change answers. The server refuses it with 412 if the version is not `if_match`, such as `W/"3"`."""
        return read_json(self._transport.send(method, path, body=body, headers=_if_match(if_match)).body)

    def _delete(self, path: str, if_match: str | None = None) -> None:
        """Deletes something. Only 204 says that it was done: a proxy may answer 200."""
        status = self._transport.send("DELETE", path, headers=_if_match(if_match)).status
        if status != 204:
            raise UnexpectedAnswer(f"its status is {status}, not 204")

    def _pages(
        self, answer: Answer[Any], path: str, name: str, *, cursor: str | None = None, next: str = "next", **query: Any
    ) -> Iterator[Any]:
        """The elements of all pages of a list. `next` is the member with the cursor of the next page."""
        while True:
            page = answer.read(self._get(path, cursor=cursor, **query))
            yield from page[name]
            if page.get(next) is None:
                return
            if page[next] == cursor:
                raise UnexpectedAnswer(DOES_NOT_GO_ON)
            cursor = page[next]

    def _resources(self, answer: Answer[Any], tenant: str, kind: str, **query: Any) -> Iterator[Any]:
        """The resources of all pages of a SCIM query by cursor (RFC 9865)."""
        path = _path("tenants", tenant, kind)
        return self._pages(answer, path, "Resources", cursor="", next="nextCursor", count=USERS_PER_PAGE, **query)


def _if_match(version: str | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": version}


def _path(*segments: str) -> str:
    """The path of these segments, encoded. Raises ValueError if one would lead to another route."""
    if not {"", ".", ".."}.isdisjoint(segments):
        raise ValueError("An id or a name of a tenant is empty, . or .., which would lead to another route.")
    return "/" + "/".join(quote(segment, safe="") for segment in segments)
