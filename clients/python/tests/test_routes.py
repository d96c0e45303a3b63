"""All routes against a real `rollcall dev`, and what is refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from conftest import Dev

import rollcall_client
from rollcall_client import Rollcall, answers


@pytest.fixture
def tenant(client: Rollcall) -> str:
    name = f"t{uuid.uuid4().hex[:10]}"
    client.create_tenant({"tenant": name, "policy": "standard", "adminEmail": "admin@example.com"})
    return name


def test_a_tenant_is_made_once_listed_and_changed(client: Rollcall) -> None:
    new: rollcall_client.types.NewTenant = {"tenant": f"t{uuid.uuid4().hex[:10]}", "policy": "standard"}
    made = client.create_tenant(new)
    assert client.create_tenant(new)["incarnation"] == made["incarnation"]
    assert made["tenant"] in [one["tenant"] for one in client.tenants()]
    assert client.update_tenant(made["tenant"], {"retentionDays": 7})["settings"]["retentionDays"] == 7
    assert client.update_tenant(made["tenant"], {"plan": "high"})["plan"] == "high"
    assert client.tenant(made["tenant"])["version"] == 3
    with pytest.raises(rollcall_client.Conflict) as refused:
        client.create_tenant({**new, "policy": "strict"})
    assert refused.value.code == "tenantExists" and "another" in refused.value.detail


def test_tenants_come_over_several_pages(client: Rollcall, tenant: str) -> None:
    names = [one["tenant"] for one in client.tenants()]
    pages = client._pages(answers.TENANTS, "/tenants", "tenants", limit=1)
    assert [one["tenant"] for one in pages] == names and len(names) > 1


def test_a_key_is_made_rotated_and_revoked(client: Rollcall, dev: Dev, tenant: str) -> None:
    made = client.create_key(tenant, {"name": "Okta"})
    scim = dev.scim(made["key"])
    assert scim.send("GET", "/Users")["totalResults"] == 1
    successor = client.rotate_key(tenant, made["id"], {"overlapSeconds": 60})
    assert successor["replaces"] == made["id"]
    client.revoke_key(tenant, successor["id"])
    status = {key["id"]: key["status"] for key in client.keys(tenant)}
    assert status == {made["id"]: "active", successor["id"]: "revoked"}


def test_a_client_is_made_rotated_and_revoked(client: Rollcall, tenant: str) -> None:
    made = client.create_client(tenant, {"name": "Entra", "tokenHours": 2})
    assert made["clientSecret"].startswith("rcs_") and made["tokenHours"] == 2
    rotated = client.rotate_client(tenant, made["id"], {"overlapSeconds": 0})
    assert [secret["id"] for secret in rotated["secrets"]] == [rotated["secretId"]]
    client.revoke_client(tenant, made["id"])
    assert {one["id"]: one["status"] for one in client.clients(tenant)} == {made["id"]: "revoked"}


def test_users_groups_members_and_assignments_are_read(client: Rollcall, dev: Dev, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollcall_client.client.USERS_PER_PAGE", 3)
    monkeypatch.setattr("rollcall_client.client.MEMBERS_PER_PAGE", 3)
    scim = dev.scim()
    ids = [scim.create_user(f"person{number}") for number in range(8)]
    group = scim.create_group("Team", ids)
    assert {user["id"] for user in client.users("demo")} >= set(ids)
    name = client.user("demo", ids[0])["userName"]
    assert [user["id"] for user in client.users("demo", filter=f'userName eq "{name}"')] == [ids[0]]
    assert [member["value"] for member in client.members("demo", group)] == sorted(ids)
    assert len(client.group("demo", group)["members"]) == 8
    listed = {one["id"]: one for one in client.groups("demo")}
    assert "members" not in listed[group]
    granted = client.replace_assignments("demo", group, [{"team": group, "role": "reviewer"}])
    assert granted["assignments"] == [{"team": group, "role": "reviewer"}]
    roles = client.user("demo", ids[0])["urn:ietf:params:scim:schemas:extension:rollcall:2.0:User"]["roles"]
    assert roles == [{"team": group, "role": "reviewer"}]


def test_changes_come_in_order_and_the_position_leads_to_the_rest(client: Rollcall, dev: Dev) -> None:
    user = dev.scim().create_user("feed")
    dev.wait_for_change(user)
    followed = list(client.changes(follow=False))
    assert [one.seq for one in followed] == list(range(1, len(followed) + 1))
    mine = next(one for one in followed if one.change["resourceId"] == user)
    assert mine.type == "user.created" and mine.resource and mine.resource["id"] == user
    again = client.changes_page(followed[-1].next)
    assert again["changes"] == [] and not again["more"]
    plain = client.changes_page(limit=1, include_resource=False)
    assert plain["more"] and [change["seq"] for change in plain["changes"]] == [1]
    assert client.status()["newest"]["seq"] == len(followed)


def test_a_quiet_tenant_shows_that_its_position_moves(client: Rollcall, dev: Dev) -> None:
    [first] = client.feed_pages(tenant="quiet", follow=False)
    dev.wait_for_change(dev.scim().create_user("elsewhere"))
    [moved] = client.feed_pages(first["next"], tenant="quiet", follow=False)
    assert first["changes"] == moved["changes"] == [] and moved["next"] != first["next"]
    assert list(client.changes(first["next"], tenant="quiet", follow=False)) == []


def test_a_change_of_a_key_is_not_one_of_something_gone(client: Rollcall, dev: Dev) -> None:
    scim = dev.scim()
    key = client.create_key("demo", {"name": "here"})["id"]
    kept, gone = scim.create_user("kept"), scim.create_user("gone")
    client.create_role("demo", {"id": "brief", "displayName": "Brief", "grants": []})
    client.delete_role("demo", "brief")
    scim.send("DELETE", f"/Users/{gone}")
    dev.wait_for_change(scim.create_user("last"))
    state = {one.change["resourceId"]: one.is_gone for one in client.changes(follow=False)}
    assert (state[key], state[kept], state[gone], state["brief"]) == (False, False, True, True)
    assert not any(one.is_gone for one in client.changes(follow=False) if one.change["resourceType"] in ("Key", "Tenant"))


def test_a_version_that_does_not_fit_is_refused(client: Rollcall, dev: Dev) -> None:
    user = client.user("demo", dev.scim().create_user("versioned"))
    group = client.group("demo", dev.scim().create_group("Versioned", []))
    for kind, read in (("user", user), ("group", group)):
        retrieve, version = getattr(client, kind), read["meta"]["version"]
        assert retrieve("demo", read["id"], if_none_match=version) is None
        assert retrieve("demo", read["id"], if_none_match='W/"9"') == read
    client.create_role("demo", {"id": "etag", "displayName": "E", "grants": []})
    client.create_entitlement("demo", {"id": "etag", "displayName": "E"})
    old, now = 'W/"9"', 'W/"1"'
    calls: list[Callable[[str], object]] = [
        lambda tag: client.update_role("demo", "etag", {"displayName": "F"}, if_match=tag),
        lambda tag: client.update_entitlement("demo", "etag", {"displayName": "F"}, if_match=tag),
        lambda tag: client.replace_assignments("demo", group["id"], [], if_match=tag),
    ]
    deletions: list[Callable[[str], object]] = [
        lambda tag: client.delete_role("demo", "etag", if_match=tag),
        lambda tag: client.delete_entitlement("demo", "etag", if_match=tag),
    ]
    for call, right in [*((call, now) for call in calls), *((call, 'W/"2"') for call in deletions)]:
        with pytest.raises(rollcall_client.InvalidRequest, match="If-Match") as refused:
            call(old)
        assert refused.value.status == 412
        call(right)


def test_refusals_are_errors_that_say_what_to_change(client: Rollcall, dev: Dev) -> None:
    with pytest.raises(rollcall_client.NotFound, match="GET /tenants lists"):
        client.tenant("nobody")
    with pytest.raises(rollcall_client.InvalidRequest) as invalid:
        list(client.users("demo", filter="userName xx 1"))
    assert invalid.value.code == "invalidFilter" and invalid.value.detail
    with pytest.raises(rollcall_client.LostPosition):
        client.changes_page("0123456789abcdef-5")
    newest = client.status()["newest"]["position"]
    with pytest.raises(rollcall_client.LostPosition):
        client.changes_page(newest + "000")
    with pytest.raises(rollcall_client.Unauthorized), Rollcall(dev.line["app_url"], "rca_wrong") as stranger:
        stranger.status()
    with pytest.raises(rollcall_client.Unauthorized), Rollcall(dev.line["app_url"], dev.line["key"]) as stranger:
        stranger.status()


def test_a_key_that_only_reads_is_refused_where_something_changes(dev: Dev) -> None:
    made = json.loads(dev.operator("application", "create", "reader", "--scope", "read", "--json"))
    with Rollcall(dev.line["app_url"], made["key"]) as reader:
        assert list(reader.tenants())
        with pytest.raises(rollcall_client.Forbidden, match="manage"):
            reader.create_key("demo", {"name": "no"})


def test_no_answer_is_an_error_that_names_the_cause() -> None:
    with pytest.raises(rollcall_client.ConnectionLost, match="Check the URL"), Rollcall("http://127.0.0.1:9/app/v1", "rca_x") as lost:
        lost.create_tenant({"tenant": "nowhere"})


def test_the_key_is_not_shown(dev: Dev, client: Rollcall) -> None:
    assert dev.line["application_key"] not in repr(client) + repr(vars(client))
