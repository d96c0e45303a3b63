"""The client has a method for each operation of docs/app-openapi.json."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollcall_client import Rollcall, types
from rollcall_client.transport import Transport

CLIENT = Path(__file__).resolve().parents[1]
DOCUMENT = json.loads((CLIENT.parents[1] / "docs" / "app-openapi.json").read_text())
OPERATIONS = {
    operation["operationId"].removeprefix("app."): (method.upper(), re.sub(r"\{.*?\}", "x", path))
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in ("get", "put", "post", "patch", "delete")
}

BODIES = {
    operation["operationId"].removeprefix("app."): body["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
    for item in DOCUMENT["paths"].values()
    for operation in item.values()
    if isinstance(operation, dict) and (body := operation.get("requestBody"))
}

METHODS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "listChanges": (Rollcall.changes_page, ()),
    "status": (Rollcall.status, ()),
    "listTenants": (Rollcall.tenants, ()),
    "createTenant": (Rollcall.create_tenant, ({},)),
    "retrieveTenant": (Rollcall.tenant, ("x",)),
    "updateTenant": (Rollcall.update_tenant, ("x", {})),
    "queryUsers": (Rollcall.users, ("x",)),
    "retrieveUser": (Rollcall.user, ("x", "x")),
    "queryGroups": (Rollcall.groups, ("x",)),
    "retrieveGroup": (Rollcall.group, ("x", "x")),
    "listMembers": (Rollcall.members, ("x", "x")),
    "replaceAssignments": (Rollcall.replace_assignments, ("x", "x", [])),
    "listKeys": (Rollcall.keys, ("x",)),
    "createKey": (Rollcall.create_key, ("x", {})),
    "revokeKey": (Rollcall.revoke_key, ("x", "x")),
    "rotateKey": (Rollcall.rotate_key, ("x", "x")),
    "listClients": (Rollcall.clients, ("x",)),
    "createClient": (Rollcall.create_client, ("x", {})),
    "revokeClient": (Rollcall.revoke_client, ("x", "x")),
    "rotateClient": (Rollcall.rotate_client, ("x", "x")),
    "listRoles": (Rollcall.roles, ("x",)),
    "createRole": (Rollcall.create_role, ("x", {})),
    "retrieveRole": (Rollcall.role, ("x", "x")),
    "updateRole": (Rollcall.update_role, ("x", "x", {})),
    "deleteRole": (Rollcall.delete_role, ("x", "x")),
    "listEntitlements": (Rollcall.entitlements, ("x",)),
    "createEntitlement": (Rollcall.create_entitlement, ("x", {})),
    "retrieveEntitlement": (Rollcall.entitlement, ("x", "x")),
    "updateEntitlement": (Rollcall.update_entitlement, ("x", "x", {})),
    "deleteEntitlement": (Rollcall.delete_entitlement, ("x", "x")),
    "listWebhooks": (Rollcall.webhooks, ()),
    "createWebhook": (Rollcall.create_webhook, ({},)),
    "retrieveWebhook": (Rollcall.webhook, ("x",)),
    "updateWebhook": (Rollcall.update_webhook, ("x", {})),
    "deleteWebhook": (Rollcall.delete_webhook, ("x",)),
    "testWebhook": (Rollcall.test_webhook, ("x",)),
    "rotateWebhook": (Rollcall.rotate_webhook, ("x",)),
}


class Asked(Exception):
    """A request that was about to be sent."""


class Recorder(Transport):
    """Sends nothing."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "rca_x")

    def send(self, method: str, path: str, **_: Any) -> httpx.Response:
        raise Asked(method, path)


def test_the_table_has_each_operation() -> None:
    assert METHODS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("operation", sorted(METHODS))
def test_the_method_sends_the_request_of_its_operation(operation: str) -> None:
    method, values = METHODS[operation]
    with pytest.raises(Asked) as asked:
        answer = method(Rollcall("", "", transport=Recorder()), *values)
        if isinstance(answer, Iterator):
            next(answer)
    assert asked.value.args == OPERATIONS[operation]


@pytest.mark.parametrize("operation", sorted(BODIES.keys() - {"replaceAssignments"}))
def test_the_method_takes_the_body_of_its_operation(operation: str) -> None:
    """A list stands for the body of replaceAssignments."""
    hints = typing.get_type_hints(METHODS[operation][0])
    taken = [one for hint in hints.values() for one in (hint, *typing.get_args(hint))]
    assert getattr(types, BODIES[operation]) in taken


def test_the_readme_names_each_method() -> None:
    public = {name for name, _ in inspect.getmembers(Rollcall, inspect.isfunction) if not name.startswith("_")}
    [section] = re.findall(r"\n## Read\n(.*?)\n## ", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", section)) >= public - {"close"}
