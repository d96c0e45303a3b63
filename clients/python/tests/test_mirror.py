"""The mirror against a real `rollcall dev`, in SQLite and PostgreSQL. At the end it shows what the API says."""

from __future__ import annotations

import json
import random
import re
import secrets
import signal
import threading
import time
import uuid
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from conftest import Dev, start_dev
from mirror_support import (
    Database,
    Editing,
    assert_converges,
    both,
    die_before_statement,
    mirror_of,
    mirror_process,
    truth,
    work_in,
)

from rollcall_client import RollcallError
from rollcall_client.mirror import LaterTables, Mirror, user_name_key
from rollcall_client.mirror.schema import SCHEMA_VERSION

pytestmark = pytest.mark.dev_for_each_test


@both
def test_a_snapshot_beside_live_writes_and_the_feed_are_the_state(dev: Dev, database: Database, tenant: str) -> None:
    work = work_in(dev, tenant, seed=1)
    mirror = mirror_of(dev, database)
    with work.going_on():
        time.sleep(0.5)
        mirror.step()
        for _ in range(20):
            mirror.step()
            time.sleep(0.1)
    assert_converges(mirror, dev.client)
    assert len(mirror.dump()["tenants"][tenant]["users"]) > 5


def test_a_mirror_that_is_killed_at_any_moment_converges(dev: Dev, database: Database, tenant: str) -> None:
    work = work_in(dev, tenant, seed=2)
    chance = random.Random(3)
    with work.going_on():
        for _ in range(5):
            process = mirror_process(dev, database)
            time.sleep(chance.uniform(0.2, 1.0))
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert_converges(mirror_of(dev, database), dev.client)


@both
def test_a_mirror_that_is_killed_before_any_statement_converges(dev: Dev, database: Database, tenant: str) -> None:
    work = work_in(dev, tenant, seed=11)
    chance = random.Random(12)
    died = 0
    # First in the making of the tables and in the snapshot, then in changes.
    for statement in [3, 14, 30, 37, 44, 52, *(chance.randint(20, 90) for _ in range(10))]:
        for _ in range(6):
            work.do()
        died += die_before_statement(dev, database, statement)
    assert died > 8
    assert_converges(mirror_of(dev, database), dev.client)


@both
def test_the_command_catches_up_and_prints(dev: Dev, database: Database, tenant: str) -> None:
    mirror = mirror_of(dev, database)
    assert_converges(mirror, dev.client)
    process = mirror_process(dev, database, "--once", "--dump")
    out, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert json.loads(out) == truth(dev.client)
    assert out.decode() == json.dumps(json.loads(out), sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    offline = mirror_process(dev, database, "--dump").communicate(timeout=30)
    assert offline == (out, b"")


@both
def test_large_changes_of_a_group_arrive_in_parts(dev: Dev, database: Database, tenant: str) -> None:
    mirror = mirror_of(dev, database)
    mirror.catch_up()
    work = work_in(dev, tenant, seed=4)
    people = work.users + [work.scim.create_user("more") for _ in range(50)]
    group = work.scim.create_group("Large", people)
    assert_converges(mirror, dev.client)
    assert len(mirror.dump()["tenants"][tenant]["members"][group]) == 62
    work.scim.remove_members(group, people[:55])
    assert_converges(mirror, dev.client)
    work.scim.send("DELETE", f"/Groups/{group}")
    assert_converges(mirror, dev.client)
    assert database.query(f"SELECT * FROM rollcall_members WHERE group_id = '{group}'") == []


@both
def test_a_change_of_a_role_changes_what_its_users_may_do(dev: Dev, database: Database, tenant: str) -> None:
    mirror, client = mirror_of(dev, database), dev.client
    scim = work_in(dev, tenant, seed=7).scim
    user = scim.create_user("payer")
    team = scim.create_group("Team", [])
    client.create_role(tenant, {"id": "Billing", "displayName": "Billing", "grants": [{"team": team, "role": "payer"}]})
    client.create_entitlement(tenant, {"id": "seat", "displayName": "Seat", "type": "license"})
    assert_converges(mirror, client)
    give = {"op": "replace", "path": "roles", "value": [{"value": "bILLing"}, {"value": "unknown"}]}
    scim.send("PATCH", f"/Users/{user}", {"Operations": [give]})
    assert_converges(mirror, client)
    assert mirror.dump()["tenants"][tenant]["roles"][user] == [[team, "payer"]]

    client.update_role(tenant, "Billing", {"grants": [{"team": team, "role": "owner"}]})
    assert_converges(mirror, client)
    assert mirror.dump()["tenants"][tenant]["roles"][user] == [[team, "owner"]]
    assert_converges(mirror_of(dev, Database(["--sqlite", ":memory:"], is_sqlite=True)), client)

    client.delete_role(tenant, "Billing")
    client.delete_entitlement(tenant, "seat")
    assert_converges(mirror, client)
    shown = mirror.dump()["tenants"][tenant]
    assert user not in shown["roles"] and shown["defined"] == {}


@both
@pytest.mark.parametrize("old", ["python-2.sql", "typescript-2.sql", "both-3.sql"])
def test_tables_of_an_earlier_version_stay_until_a_snapshot_replaces_them(dev: Dev, database: Database, old: str) -> None:
    make_tables(database, old)
    user = dev.scim().create_user("newcomer")
    dev.scim().create_group("Newcomers", [user])
    mirror = mirror_of(dev, database)
    assert database.query("SELECT user_name FROM rollcall_users") == [("gone@example.com",)]
    with pytest.raises(RollcallError, match="earlier version"):
        mirror.dump()
    # In the making of the staging tables, in the reading, in the removal of the old tables, and before the commit.
    for statement in (3, 12, 30, 45, 60, 80):
        assert die_before_statement(dev, database, statement)
        assert database.query("SELECT user_name FROM rollcall_users") == [("gone@example.com",)]
    assert_converges(mirror, dev.client)
    assert shape_of(database) == shape_of(Database(["--sqlite", ":memory:"], is_sqlite=True), dev) or not database.is_sqlite
    if not database.is_sqlite:
        assert database.query("SELECT relname FROM pg_class WHERE relname LIKE 'rollcall_staging%' AND relpersistence = 'p'") == []
    assert database.query("SELECT id FROM rollcall_users WHERE id = 'u'") == []
    [(root,)] = database.query("SELECT root_team FROM rollcall_tenants")
    assert root == dev.client.tenant("demo")["rootTeam"]


def make_tables(database: Database, file: str) -> None:
    """Makes the tables of an earlier version, with a person in them."""
    script = (Path(__file__).resolve().parents[2] / "test-data" / file).read_text()
    connection = database.connect()
    for statement in script.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.commit()
    connection.close()


def shape_of(database: Database, new: Dev | None = None) -> list[Any]:
    """The statements of the tables, indexes and views of an SQLite database; of a `new` mirror, without rows."""
    if not database.is_sqlite:
        return []
    connection = database.connect()
    if new is not None:
        Mirror(new.client, connection)
    return list(connection.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE 'rollcall%' ORDER BY name"))


def test_both_clients_have_the_same_schema() -> None:
    typescript = Path(__file__).resolve().parents[2] / "typescript" / "src" / "mirror" / "schema.ts"
    [text] = re.findall(r"export const SCHEMA = `(.*?)`;", typescript.read_text(), re.DOTALL)
    [version] = re.findall(r"export const SCHEMA_VERSION = (\d+);", typescript.read_text())
    assert text == resources.files("rollcall_client.mirror").joinpath("schema.sql").read_text()
    assert int(version) == SCHEMA_VERSION


@both
def test_tables_of_a_later_version_are_left_alone(dev: Dev, database: Database) -> None:
    mirror = mirror_of(dev, database)
    assert_converges(mirror, dev.client)
    connection = database.connect()
    connection.execute("UPDATE rollcall_mirror_state SET schema_version = schema_version + 1")
    connection.commit()
    connection.close()
    for use in (mirror.catch_up, mirror.run, mirror.dump, lambda: mirror_of(dev, database)):
        with pytest.raises(LaterTables, match="Install the later version"):
            use()


@both
def test_the_columns_answer_who_this_is_and_who_administers(dev: Dev, database: Database, tenant: str) -> None:
    scim = work_in(dev, tenant, seed=16).scim
    mirror = mirror_of(dev, database)
    assert_converges(mirror, dev.client)
    root = dev.client.tenant(tenant)["rootTeam"]
    made = {
        "userName": "Mixed.Case@Example.com",
        "externalId": "00u1",
        "name": {"givenName": "M", "familyName": "C"},
        "displayName": "M",
        "emails": [{"value": "mixed.case@example.com", "primary": True}],
    }
    user = scim.send("POST", "/Users", made)["id"]
    group = scim.send("POST", "/Groups", {"displayName": "Outer", "externalId": "g1", "members": [{"value": user}]})["id"]
    inner = scim.create_group("Inner", [])
    scim.add_members(group, [inner])
    dev.client.replace_assignments(tenant, group, [{"team": root, "role": "admin"}])
    later = f"t{uuid.uuid4().hex[:10]}"
    dev.client.create_tenant({"tenant": later})

    for one in (mirror, mirror_of(dev, database)):
        assert_converges(one, dev.client)
        in_tenant = f"FROM rollcall_current_users WHERE tenant = '{tenant}' AND"
        assert database.query(f"SELECT id {in_tenant} user_name_key = '{user_name_key('mixed.CASE@example.com')}'") == [(user,)]
        assert database.query(f"SELECT id, user_name {in_tenant} external_id = '00u1'") == [(user, made["userName"])]
        assert database.query("SELECT id FROM rollcall_current_groups WHERE external_id = 'g1'") == [(group,)]
        assert database.query("SELECT group_id, subgroup_id FROM rollcall_current_subgroups") == [(group, inner)]
        administrators = f"""SELECT r.user_id FROM rollcall_tenants t
            JOIN rollcall_current_roles r ON r.incarnation = t.incarnation AND r.team = t.root_team AND r.role = 'admin'
            WHERE t.tenant = '{tenant}'"""
        assert (user,) in database.query(administrators)
        roots = dict(database.query("SELECT tenant, root_team FROM rollcall_tenants"))
        assert roots == {one["tenant"]: one["rootTeam"] for one in dev.client.tenants()}
        make_position_old(database)


def make_position_old(database: Database) -> None:
    """The next mirror takes a snapshot."""
    connection = database.connect()
    connection.execute("UPDATE rollcall_mirror_state SET position = ''")
    connection.commit()
    connection.close()


@both
def test_a_person_who_leaves_is_hidden_comes_back_and_is_erased(dev: Dev, database: Database, tenant: str) -> None:
    mirror, client = mirror_of(dev, database), dev.client
    scim = work_in(dev, tenant, seed=5).scim
    user = scim.create_user("leaver")
    group = scim.create_group("Team", [user])
    assert_converges(mirror, client)
    assert mirror.dump()["tenants"][tenant]["roles"][user] == [[group, "member"]]
    row = f"SELECT active, hidden FROM rollcall_users WHERE id = '{user}'"

    scim.set_active(user, False)
    assert_converges(mirror, client)
    assert database.query(row) == [(0, 0)]
    assert user not in mirror.dump()["tenants"][tenant]["roles"]
    scim.set_active(user, True)
    assert_converges(mirror, client)
    assert mirror.dump()["tenants"][tenant]["roles"][user] == [[group, "member"]]

    name = client.user(tenant, user)["userName"]
    scim.send("DELETE", f"/Users/{user}")
    assert_converges(mirror, client)
    assert database.query(row) == [(0, 1)]
    assert user not in mirror.dump()["tenants"][tenant]["users"]
    person = {"givenName": "L", "familyName": "T"}
    emails = [{"value": name, "primary": True}]
    scim.send("POST", "/Users", {"userName": name, "name": person, "displayName": "L", "emails": emails})
    assert_converges(mirror, client)
    assert database.query(row) == [(1, 0)]

    scim.send("DELETE", f"/Users/{user}")
    assert_converges(mirror, client)
    dev.operator("user", "purge", tenant, user, "--yes")
    end = time.monotonic() + 20
    while database.query(row):
        mirror.catch_up()
        assert time.monotonic() < end, "the purged person is still in the table"


@both
def test_a_position_of_another_deployment_leads_to_a_snapshot(
    dev: Dev, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = start_dev(tmp_path_factory.mktemp("other"))
    try:
        other.scim().create_user("elsewhere")
        mirror = mirror_of(other, database)
        assert_converges(mirror, other.client)
    finally:
        other.stop()
    moved = mirror_of(dev, database)
    assert_converges(moved, dev.client)


@pytest.mark.parametrize("position", ["0123456789abcdef-7", "beyond"])
def test_a_lost_position_leads_to_a_snapshot(dev: Dev, database: Database, position: str) -> None:
    mirror, client = mirror_of(dev, database), dev.client
    assert_converges(mirror, client)
    if position == "beyond":
        position = client.status()["newest"]["position"] + "000"
    connection = database.connect()
    connection.execute(f"UPDATE rollcall_mirror_state SET position = '{position}', seq = 99999999")
    connection.execute("DELETE FROM rollcall_users")
    connection.commit()
    connection.close()
    dev.scim().create_user("meanwhile")
    assert_converges(mirror, client)


@both
def test_a_deleted_tenant_leaves_nothing_and_another_one_does_not_inherit(dev: Dev, database: Database, tenant: str) -> None:
    mirror, client = mirror_of(dev, database), dev.client
    work_in(dev, tenant, seed=6)
    assert_converges(mirror, client)
    incarnation = client.tenant(tenant)["incarnation"]
    dev.operator("tenant", "delete", tenant, "--yes", "--wait", "0s")
    assert_converges(mirror, client)
    for table in ("tenants", "users", "groups", "members", "assignments"):
        assert database.query(f"SELECT * FROM rollcall_{table} WHERE incarnation = '{incarnation}'") == []


@pytest.mark.parametrize("moment", ["", "/Users", "/Groups", "/members"])
def test_a_tenant_may_be_deleted_while_the_snapshot_reads_it(dev: Dev, database: Database, tenant: str, moment: str) -> None:
    work_in(dev, tenant, seed=7)
    client = Editing(dev)
    mirror = mirror_of(dev, database, client)
    client.before[f"/tenants/{tenant}{moment}" if moment != "/members" else moment] = lambda: dev.operator(
        "tenant", "delete", tenant, "--yes", "--wait", "0s"
    )
    assert_converges(mirror, dev.client)
    assert not client.before, "the tenant was deleted meanwhile"


def test_a_group_may_be_deleted_between_its_listing_and_its_members(dev: Dev, database: Database, tenant: str) -> None:
    work = work_in(dev, tenant, seed=8)
    group = work.scim.create_group("Short", work.users)
    client = Editing(dev)
    mirror = mirror_of(dev, database, client)
    client.before[f"{group}/members"] = lambda: work.scim.send("DELETE", f"/Groups/{group}")
    assert_converges(mirror, dev.client)
    assert not client.before, "the group was deleted meanwhile"


def test_fields_and_types_that_are_not_known_are_ignored(dev: Dev, database: Database, tenant: str) -> None:
    client = Editing(dev)
    mirror = mirror_of(dev, database, client)
    assert_converges(mirror, dev.client)
    user = dev.scim().create_user("known")
    dev.wait_for_change(user)
    new = {"field": {"of": "tomorrow"}}
    state = {**dev.client.user("demo", user), **new}
    client.extra = [
        {**new, "type": "user.renamed", "resourceType": "User", "resourceId": user, "resource": state},
        {**new, "type": "robot.created", "resourceType": "Robot", "resourceId": "r1", "resource": None},
    ]
    mirror.catch_up()
    assert not client.extra
    assert_converges(mirror, dev.client)
    assert user in mirror.dump()["tenants"]["demo"]["users"]


@both
def test_any_text_can_be_stored(dev: Dev, database: Database) -> None:
    mirror = mirror_of(dev, database)
    mirror.catch_up()
    user = dev.scim().create_user("O'Neil")
    names = {"nul": "a\0b", "more": "'; DROP TABLE rollcall_users; -- % ? %s \\u0000 Zoë 🙂"}
    for id, name in names.items():
        dev.scim().patch(f"/Users/{user}", "replace", "displayName", name)
        names[id] = str(dev.scim().send("POST", "/Groups", {"displayName": name})["id"])
    dev.wait_for_change(names["more"])
    mirror.catch_up()
    groups = mirror.dump()["tenants"]["demo"]["groups"]
    assert groups[names["nul"]]["displayName"] == "a\ufffdb"
    assert groups[names["more"]]["displayName"] == dev.client.group("demo", names["more"])["displayName"]
    [(resource,)] = database.query(f"SELECT resource FROM rollcall_users WHERE id = '{user}'")
    assert json.loads(resource)["displayName"] == dev.client.user("demo", user)["displayName"]


@both
def test_texts_of_any_length_can_be_stored(dev: Dev, database: Database) -> None:
    """An ordinary index of PostgreSQL refuses a value of more than 2,700 bytes."""
    mirror, chance, scim = mirror_of(dev, database), random.Random(17), dev.scim()

    def long_text(length: int) -> str:
        return "".join(chr(chance.randrange(0x4E00, 0x9FA0)) for _ in range(length))

    mirror.catch_up()
    user = scim.create_user("long")
    scim.patch(f"/Users/{user}", "replace", "externalId", long_text(1000))
    scim.patch(f"/Users/{user}", "replace", "roles", [{"value": long_text(1000)}, {"value": secrets.token_hex(1500)}])
    scim.patch(f"/Users/{user}", "replace", "userName", f"{long_text(1000)}@example.com")
    scim.send("POST", "/Groups", {"displayName": "Long", "externalId": long_text(1000)})
    for one in (mirror, mirror_of(dev, database)):
        assert_converges(one, dev.client)
        name = user_name_key(dev.client.user("demo", user)["userName"])
        assert database.query(f"SELECT id FROM rollcall_current_users WHERE user_name_key = '{name}'") == [(user,)]
        make_position_old(database)


@both
def test_several_mirrors_on_one_database_do_no_harm(dev: Dev, database: Database, tenant: str) -> None:
    work = work_in(dev, tenant, seed=10)
    stop = threading.Event()
    threads = [threading.Thread(target=mirror_of(dev, database).run, args=(stop,)) for _ in range(3)]
    with work.going_on():
        for thread in threads:
            thread.start()
        time.sleep(4)
    stop.set()
    for thread in threads:
        thread.join()
    assert_converges(mirror_of(dev, database), dev.client)


@both
def test_the_tables_can_be_joined(dev: Dev, database: Database) -> None:
    mirror = mirror_of(dev, database)
    user = dev.scim().create_user("joined")
    dev.scim().create_group("Readers", [user])
    assert_converges(mirror, dev.client)
    rows = database.query(
        f"""SELECT u.display_name, u.email = u.user_name, g.display_name, r.role FROM rollcall_current_users u
        JOIN rollcall_current_roles r ON r.incarnation = u.incarnation AND r.user_id = u.id
        JOIN rollcall_current_groups g ON g.incarnation = r.incarnation AND g.id = r.team
        WHERE u.tenant = 'demo' AND u.id = '{user}'"""
    )
    assert [(row[0], bool(row[1]), row[2][:8], row[3]) for row in rows] == [("joined", True, "Readers ", "member")]
    [(resource,)] = database.query(f"SELECT resource FROM rollcall_users WHERE id = '{user}'")
    assert '"familyName":"Test"' in resource and '"roles"' not in resource and '"groups"' not in resource
