"""A deployment that is played: a test decides what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from rollcall_client import Rollcall
from rollcall_client.transport import Transport

URL = "http://127.0.0.1:9/app/v1"
TENANT = {"tenant": "acme", "incarnation": "one", "version": 1, "rootTeam": "g"}
USER = {"id": "u", "userName": "ada@example.com", "active": True, "meta": {"version": 'W/"1"'}}
GROUP = {"id": "g", "displayName": "Team", "meta": {"version": 'W/"1"'}}
ROLE = {"id": "r", "displayName": "Role", "version": 1, "grants": [{"team": "g", "role": "payer"}]}
ENTITLEMENT = {"id": "e", "displayName": "Seat", "version": 1}

USUAL: dict[str, Any] = {
    "/status": {"snapshot": "0-0"},
    "/tenants": {"tenants": [TENANT]},
    "/tenants/acme": TENANT,
    "/tenants/acme/Users": {"Resources": [USER]},
    "/tenants/acme/Groups": {"Resources": [GROUP]},
    "/tenants/acme/Groups/g/members": {"version": 1, "members": [{"value": "u", "type": "User"}]},
    "/tenants/acme/roles": {"roles": [ROLE]},
    "/tenants/acme/entitlements": {"entitlements": [ENTITLEMENT]},
}


def changed(seq: int, type: str, resource_type: str, id: str, **more: Any) -> dict[str, Any]:
    """A change of the tenant."""
    whole = {"seq": seq, "type": type, "resourceType": resource_type, "resourceId": id, "version": seq}
    return {**whole, "tenant": "acme", "incarnation": "one", **more}


class Played:
    """A deployment with one tenant, and with one user, group, role and entitlement in it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        """The requests so far, such as `GET /status`."""
        self.changes: list[dict[str, Any]] = []
        """The feed. A position is `0-` and the number of the last change."""
        self.instead: dict[str, Callable[[httpx.Request], httpx.Response | None] | bytes | Any] = {}
        """What is answered once in the place of the deployment, by path: bytes, JSON, or a function."""

    def client(self, pauses: list[float] | None = None) -> Rollcall:
        """A client of this deployment. It notes its pauses and does not wait."""
        transport = Transport(URL, "rca_x", sleep=[].append if pauses is None else pauses.append)
        transport._http = httpx.Client(transport=httpx.MockTransport(self.answer), base_url=URL)
        return Rollcall(URL, "rca_x", transport)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/app/v1")
        self.requests.append(f"{request.method} {path}")
        if path in self.instead:
            other = self.instead.pop(path)
            answer = other(request) if callable(other) else other
            if isinstance(answer, httpx.Response):
                return answer
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            return httpx.Response(200, content=content)
        if path == "/changes":
            return httpx.Response(200, json=self.page(request.url.params.get("after", "0-0")))
        if path not in USUAL:
            return refusal(404)
        return httpx.Response(200, json=USUAL[path])

    def page(self, after: str) -> dict[str, Any]:
        last = int(after.split("-")[1])
        changes = [change for change in self.changes if change["seq"] > last]
        return {"changes": changes, "next": f"0-{changes[-1]['seq'] if changes else last}", "more": False}


def refusal(status: int) -> httpx.Response:
    """A refusal of Rollcall."""
    problem = {"type": "about:blank", "title": "No", "status": status, "detail": "It is not there."}
    return httpx.Response(status, json=problem, headers={"Content-Type": "application/problem+json"})
