"""User names and ids of roles compare here as they compare in Rollcall."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from conftest import Dev

from rollcall_client import Rollcall
from rollcall_client.mirror import user_name_key
from rollcall_client.mirror.names import role_id_key

TEST_DATA = Path(__file__).resolve().parents[2] / "test-data"
NAMES: list[dict[str, str]] = json.loads((TEST_DATA / "user-names.json").read_text())
ROLE_IDS: list[dict[str, str]] = json.loads((TEST_DATA / "role-ids.json").read_text())


@pytest.mark.parametrize("vector", NAMES, ids=lambda vector: ascii(vector["name"]))
def test_a_name_has_this_key(vector: dict[str, str]) -> None:
    assert user_name_key(vector["name"]) == vector["key"]
    assert user_name_key(vector["key"]) == vector["key"]


@pytest.mark.parametrize("vector", ROLE_IDS, ids=lambda vector: ascii(vector["value"]))
def test_a_value_of_a_role_has_this_key(vector: dict[str, str]) -> None:
    assert role_id_key(vector["value"]) == vector["key"]


def test_names_that_are_the_same_and_names_that_are_not() -> None:
    for one, other, same in [
        ("straße", "strasse", False),
        ("STRASSE", "strasse", True),
        ("ẞ", "ß", True),
        ("İ", "i\u0307", True),
        ("İ", "i", False),
        ("Ａｌｉｃｅ", "alice", True),
        ("É", "e\u0301", True),
        ("ΣΊΣΥΦΟΣ", "σίσυφος", True),
        ("σίσυφος", "σίσυφοσ", False),
        ("ﬁn", "fin", False),
    ]:
        assert (user_name_key(one) == user_name_key(other)) == same, (one, other)


def test_a_filter_of_the_server_finds_the_names_of_the_same_key(client: Rollcall, dev: Dev) -> None:
    client.create_tenant({"tenant": "names", "policy": "standard"})
    headers = {"Authorization": f"Bearer {client.create_key('names', {'name': 'work'})['key']}"}
    made: dict[str, str] = {}
    for vector in NAMES:
        if vector["key"] in made:
            continue
        body = {
            "userName": vector["name"],
            "name": {"givenName": "N", "familyName": "T"},
            "displayName": "N",
            "emails": [{"value": f"n{len(made)}@example.com", "primary": True}],
        }
        answer = httpx.post(f"{dev.line['base_url']}/Users", json=body, headers=headers)
        if answer.status_code == 201:
            made[vector["key"]] = answer.json()["id"]
        else:
            assert "Attribute userName holds the character" in answer.text, (vector, answer.text)
    assert len(made) > 20
    for vector in NAMES:
        found = [user["id"] for user in client.users("names", filter=f"userName eq {json.dumps(vector['name'])}")]
        expected = made.get(vector["key"])
        assert found == ([expected] if expected else []), vector
