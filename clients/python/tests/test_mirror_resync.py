"""The mirror reads a tenant again: after tenant.resync, and where a read did not show everything yet."""

from __future__ import annotations

import time

import pytest
from conftest import Dev
from mirror_support import Database, Editing, assert_converges, both, mirror_of, newest, truth, work_in

pytestmark = pytest.mark.dev_for_each_test


def test_a_root_team_that_a_read_does_not_show_yet_comes_later(dev: Dev, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollcall_client.mirror.mirror.RESYNC_LOOK_SECONDS", 0.0)
    client = Editing(dev)
    mirror = mirror_of(dev, database, client)
    assert_converges(mirror, dev.client)
    client.snapshot = newest(dev)
    made = dev.client.create_tenant({"tenant": "late"})
    client.instead = {"/tenants/late": {**made, "version": 0, "rootTeam": None}}
    assert_converges(mirror, dev.client)
    root = "SELECT root_team FROM rollcall_tenants WHERE tenant = 'late'"
    assert not client.instead and database.query(root) == [(None,)]
    client.snapshot = newest(dev)
    mirror.catch_up()
    assert database.query(root) == [(made["rootTeam"],)]
    assert database.query("SELECT * FROM rollcall_resyncs") == []


@both
def test_a_resync_takes_the_snapshot_of_that_tenant_again(dev: Dev, database: Database, tenant: str) -> None:
    work = work_in(dev, tenant, seed=9)
    client = Editing(dev)
    mirror = mirror_of(dev, database, client)
    assert_converges(mirror, dev.client)
    incarnation = dev.client.tenant(tenant)["incarnation"]
    connection = database.connect()
    for statement in ("UPDATE rollcall_users SET user_name = 'old'", "DELETE FROM rollcall_groups"):
        connection.execute(f"{statement} WHERE incarnation = '{incarnation}'")
    connection.commit()
    connection.close()
    assert mirror.dump() != truth(dev.client)
    resync = {"type": "tenant.resync", "resourceType": "Tenant", "resourceId": tenant, "tenant": tenant}
    client.extra = [{**resync, "incarnation": incarnation}, {**resync, "tenant": "gone", "incarnation": "gone"}]
    client.before[f"/tenants/{tenant}/Groups"] = lambda: (work.do(), work.do(), work.do())
    with work.going_on():
        end = time.monotonic() + 30
        while client.extra and time.monotonic() < end:
            mirror.step()
            time.sleep(0.1)
    assert not client.extra and not client.before
    assert_converges(mirror, dev.client)


def test_the_operator_can_ask_for_a_resync(dev: Dev, database: Database, tenant: str) -> None:
    work_in(dev, tenant, seed=14)
    mirror = mirror_of(dev, database)
    assert_converges(mirror, dev.client)
    connection = database.connect()
    connection.execute("UPDATE rollcall_users SET user_name = 'old'")
    connection.execute("DELETE FROM rollcall_groups")
    connection.commit()
    connection.close()
    for name in ("demo", tenant):
        dev.operator("tenant", "resync", name)
    assert_converges(mirror, dev.client)


@both
def test_a_resync_is_repeated_when_all_before_it_is_visible(
    dev: Dev, database: Database, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollcall_client.mirror.mirror.RESYNC_LOOK_SECONDS", 0.0)
    work = work_in(dev, tenant, seed=15)
    client = Editing(dev)
    mirror = mirror_of(dev, database, client)
    assert_converges(mirror, dev.client)
    work.scim.send("DELETE", f"/Users/{work.users[0]}")
    assert_converges(mirror, dev.client)
    users = dev.client._get(f"/tenants/{tenant}/Users", cursor="", count=200)
    users["Resources"] = users["Resources"][:3]
    client.instead = {f"/tenants/{tenant}/Users": users}
    resync = {"type": "tenant.resync", "resourceType": "Tenant", "resourceId": tenant, "tenant": tenant}
    client.extra = [{**resync, "incarnation": dev.client.tenant(tenant)["incarnation"]}]
    client.snapshot = newest(dev)
    dev.wait_for_change(dev.scim().create_user("another"))
    mirror.catch_up()
    assert not client.extra and not client.instead
    assert len(mirror.dump()["tenants"][tenant]["users"]) == 3
    assert len(database.query("SELECT * FROM rollcall_resyncs")) == 1

    client.snapshot = newest(dev)
    mirror.catch_up()
    assert database.query("SELECT * FROM rollcall_resyncs") == []
    assert_converges(mirror, dev.client)
    assert database.query(f"SELECT hidden FROM rollcall_users WHERE id = '{work.users[0]}'") == [(1,)]


def test_what_a_resync_could_not_see_yet_comes_from_the_feed(dev: Dev, database: Database, tenant: str) -> None:
    """On AWS a query may not show yet what the last transactions wrote, although the feed tells of them."""
    work = work_in(dev, tenant, seed=13)
    client, group = Editing(dev), work.groups[0]
    mirror = mirror_of(dev, database, client)
    assert_converges(mirror, dev.client)
    older = {
        f"/tenants/{tenant}/Users": dev.client._get(f"/tenants/{tenant}/Users", cursor="", count=200),
        f"/Groups/{group}/members": dev.client._get(f"/tenants/{tenant}/Groups/{group}/members"),
    }
    late = work.scim.create_user("late")
    work.scim.remove_members(group, work.users[:2])
    dev.wait_for_change(late)
    assert_converges(mirror, dev.client)
    resync = {"type": "tenant.resync", "resourceType": "Tenant", "resourceId": tenant, "tenant": tenant}
    client.extra = [{**resync, "incarnation": dev.client.tenant(tenant)["incarnation"]}]
    client.instead = older
    dev.wait_for_change(dev.scim().create_user("another"))
    mirror.catch_up()
    assert not client.extra and not client.instead
    assert_converges(mirror, dev.client)
