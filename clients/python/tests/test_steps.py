"""What changes do to the tables, and what mirrors beside one another do. No server."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollcall_client import ConnectionLost, LostPosition, MissingResource, Rollcall, types
from rollcall_client.mirror import Mirror, connect_sqlite
from rollcall_client.mirror.core import steps_of
from rollcall_client.mirror.storage import Storage

CLIENTS = Path(__file__).resolve().parents[2]
CASES: list[dict[str, str]] = json.loads((CLIENTS / "test-data" / "changes.json").read_text())
SCHEMA = json.loads((CLIENTS.parent / "docs" / "events.schema.json").read_text())
TABLES = {"User": "users", "Group": "groups", "Role": "definitions", "Entitlement": "definitions"}


class Tables:
    """The tables of a mirror in memory, with one tenant."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.storage = Storage(self.connection)
        self.seq = 0
        self.apply("tenant.created", "Tenant", "acme")

    def apply(self, type: str, resource_type: str, id: str, **more: Any) -> None:
        self.seq += 1
        whole = {"seq": self.seq, "tenant": "acme", "incarnation": "one", "version": self.seq}
        for step in steps_of({**whole, "type": type, "resourceType": resource_type, "resourceId": id, **more}):
            self.storage.apply(step)

    def rows(self, sql: str) -> list[Any]:
        return list(self.connection.execute(sql).fetchall())


def state_of(kind: str, name: str, version: int) -> dict[str, Any]:
    """The state of a resource with the id x, as SCIM and the lists of roles have it."""
    scim = {"id": "x", "meta": {"version": f'W/"{version}"'}}
    match kind:
        case "User":
            return {**scim, "userName": name, "displayName": name}
        case "Group":
            return {**scim, "displayName": name}
        case _:
            return {"id": "x", "displayName": name, "version": version, "grants": []}


def left_of(tables: Tables, kind: str) -> str:
    """What is left of the resource x, which was called old."""
    hidden = "hidden" if kind == "User" else "0"
    rows = tables.rows(f"SELECT {hidden}, display_name FROM rollcall_{TABLES[kind]} WHERE id = 'x'")
    return {(): "gone", ((1, "old"),): "hidden", ((0, "new"),): "stored"}[tuple(rows)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["type"])
def test_each_type_does_what_the_other_client_does(case: dict[str, str]) -> None:
    kind = case["resourceType"]
    for state, expected in ((state_of(kind, "new", 9), case["withState"]), (None, case["withNull"])):
        tables = Tables()
        members = {"added": ["member"]} if kind == "Group" else {}
        tables.apply(f"{kind.lower()}.created", kind, "x", resource=state_of(kind, "old", 1), **members)
        tables.apply(case["type"], kind, "x", resource=state)
        assert left_of(tables, kind) == expected
        kept = [("member",)] if kind == "Group" and case["type"] != "group.deleted" else []
        assert tables.rows("SELECT member_id FROM rollcall_members") == kept


def test_the_table_of_both_clients_has_each_type() -> None:
    known = set(SCHEMA["properties"]["type"]["enum"])
    with_state = {one for one in known if one.split(".")[0] in {kind.lower() for kind in TABLES}}
    assert {case["type"] for case in CASES} & known == with_state


def test_a_user_that_a_null_state_leaves_in_doubt_is_hidden_until_a_change_erases_it() -> None:
    tables = Tables()
    tables.apply("user.created", "User", "x", resource=state_of("User", "old", 1))
    tables.apply("user.updated", "User", "x", resource=None)
    row = "SELECT active, hidden, user_name FROM rollcall_users"
    assert tables.rows(row) == [(0, 1, "old")]
    tables.apply("user.deactivated", "User", "x", resource=None)
    assert tables.rows(row) == [(0, 1, "old")]
    tables.apply("user.reactivated", "User", "x", resource=state_of("User", "new", 4))
    assert tables.rows(row) == [(1, 0, "new")]
    tables.apply("user.deleted", "User", "x", resource=None)
    assert tables.rows(row) == []


def test_an_unknown_type_of_a_group_names_members_too() -> None:
    tables = Tables()
    tables.apply("group.not-known-yet", "Group", "x", resource=state_of("Group", "new", 1), added=["a", "b"])
    tables.apply("group.not-known-yet", "Group", "x", resource=state_of("Group", "new", 2), removed=["a"])
    assert tables.rows("SELECT member_id FROM rollcall_members") == [("b",)]


def test_unknown_kinds_of_resources_and_types_of_tenants_are_ignored() -> None:
    tables = Tables()
    before = list(tables.connection.iterdump())
    tables.apply("planet.moved", "Planet", "p", resource={"id": "p"})
    tables.apply("tenant.painted", "Tenant", "acme")
    tables.apply("application.created", "Application", "app_1", tenant="deployment")
    assert list(tables.connection.iterdump()) == before


def test_a_lone_surrogate_is_replaced_since_it_cannot_be_stored() -> None:
    tables = Tables()
    state = {**state_of("User", "new", 1), **json.loads('{"displayName": "a\\ud800\\u0000", "x\\udc00": "\\ud83d\\ude42"}')}
    tables.apply("user.created", "User", "x", resource=state)
    [(name, resource)] = tables.rows("SELECT display_name, resource FROM rollcall_users")
    assert name == "a\ufffd\ufffd" and json.loads(resource)["x\ufffd"] == "🙂"


def test_a_late_deletion_of_a_role_keeps_what_a_role_of_the_same_name_in_another_case_grants() -> None:
    tables = Tables()

    def role(id: str, grant: str | None) -> None:
        state = {"id": id, "displayName": id, "version": 1, "grants": [{"team": "g", "role": grant}]}
        type = "role.deleted" if grant is None else "role.created"
        tables.apply(type, "Role", id, resource=None if grant is None else state)

    role("Billing", "payer")
    role("billing", "owner")
    assert tables.rows("SELECT role_id, role FROM rollcall_grants") == [("billing", "owner")]
    role("Billing", None)
    assert tables.rows("SELECT role_id, role FROM rollcall_grants") == [("billing", "owner")]
    role("billing", None)
    assert tables.rows("SELECT role_id, role FROM rollcall_grants") == []


def test_a_change_without_its_state_is_refused() -> None:
    with pytest.raises(MissingResource, match="include=resource"):
        Tables().apply("user.updated", "User", "x")


class Alone(Rollcall):
    """A client without a server: a deployment without tenants."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9/app/v1", "rca_x")
        self.lost = {"old"}
        """The positions at which the feed cannot be read."""
        self.failures = 0
        """How many snapshots a lost connection ends."""
        self.meanwhile: list[Any] = []
        """What happens while snapshots are read."""

    def status(self) -> types.Status:
        place: types.Place = {"seq": 1, "position": "snapshot"}
        return {"snapshot": "snapshot", "newest": place, "oldest": place, "lagSeconds": 0, "deliveries": []}

    def tenants(self) -> Iterator[types.Tenant]:
        if self.failures > 0:
            self.failures -= 1
            raise ConnectionLost("no answer")
        if self.meanwhile:
            self.meanwhile.pop()()
        return iter(())

    def changes_page(self, after: str | None = None, **_: Any) -> types.Changes:
        if after in self.lost:
            raise LostPosition(410, "about:blank", "Gone", "Take a snapshot.", None)
        return {"changes": [], "next": after or "", "more": False}


def test_an_answer_that_moves_nothing_is_not_shown() -> None:
    assert list(Alone().feed_pages("old place", follow=False)) == []
    assert len(list(Alone().feed_pages(None, follow=False))) == 1


def position(connection: Any, new: str | None = None) -> str:
    """The position of the mirror; moves it to a new one, as another mirror does."""
    if new is not None:
        connection.execute("UPDATE rollcall_mirror_state SET position = ?", (new,))
        connection.commit()
    return str(connection.execute("SELECT position FROM rollcall_mirror_state").fetchone()[0])


@pytest.mark.parametrize("start", ["", "old"])
def test_another_mirror_may_take_the_snapshot_first(tmp_path: Path, start: str) -> None:
    client, file = Alone(), str(tmp_path / "mirror.db")
    mirror, other = Mirror(client, connect_sqlite(file)), connect_sqlite(file)
    position(other, start)
    client.meanwhile = [lambda: position(other, "further")]
    assert mirror.step(), "there is more to do"
    assert not client.meanwhile and position(other) == "further"
    mirror.catch_up()
    assert position(other) == "further"


def test_a_lost_position_is_final_after_some_snapshots_but_not_after_lost_connections() -> None:
    client, connection = Alone(), sqlite3.connect(":memory:")
    mirror = Mirror(client, connection)
    client.lost.add("snapshot")
    client.failures = 5
    position(connection, "old")
    for _ in range(5):
        with pytest.raises(ConnectionLost):
            mirror.step()
    with pytest.raises(LostPosition):
        mirror.catch_up()
    assert position(connection) == "snapshot"
