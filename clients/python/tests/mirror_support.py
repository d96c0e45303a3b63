"""Databases for the mirror, random work beside it, and what the API says it must show."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Dev, Scim

from rollcall_client import Rollcall, types
from rollcall_client.mirror import Mirror, connect_sqlite
from rollcall_client.mirror.storage import Storage

both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
"""For tests that take the fixture `database`."""

EXTENSION = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User"


@dataclass
class Database:
    """An empty database: its argument of the command, and a connection to it."""

    argument: list[str]
    is_sqlite: bool

    def connect(self) -> Any:
        if self.is_sqlite:
            return connect_sqlite(self.argument[1])
        import psycopg

        return psycopg.connect(self.argument[1])

    def query(self, sql: str) -> list[Any]:
        connection = self.connect()
        try:
            return list(connection.execute(sql).fetchall())
        finally:
            connection.close()


def mirror_of(dev: Dev, database: Database, client: Rollcall | None = None) -> Mirror:
    return Mirror(client or dev.client, database.connect())


def truth(client: Rollcall) -> dict[str, Any]:
    """What a mirror must show, read from the API alone; the roles are those that the server computed."""
    tenants = {}
    for tenant in client.tenants():
        name = tenant["tenant"]
        users = {user["id"]: user for user in client.users(name)}
        groups = {group["id"]: group for group in client.groups(name)}
        members = {id: sorted({one["value"] for one in client.members(name, id)} & users.keys()) for id in groups}
        roles = {id: user.get(EXTENSION, {}).get("roles", []) for id, user in users.items() if user["active"]}
        tenants[name] = {
            "incarnation": tenant["incarnation"],
            "users": {
                id: {"userName": user["userName"], "active": user["active"], "version": version(user)}
                for id, user in users.items()
            },
            "groups": {
                id: {"displayName": group["displayName"], "version": version(group)} for id, group in groups.items()
            },
            "members": members,
            "roles": {id: sorted([one["team"], one["role"]] for one in own) for id, own in roles.items() if own},
            "defined": {
                f"{kind} {one['id']}": {"displayName": one["displayName"], "version": one["version"]}
                for kind, defined in (("Role", client.roles(name)), ("Entitlement", client.entitlements(name)))
                for one in defined
            },
        }
    return {"tenants": tenants}


def version(resource: Any) -> int:
    return int(resource["meta"]["version"][3:-1])


def assert_converges(mirror: Mirror, client: Rollcall, seconds: float = 60) -> None:
    """Catches up until the mirror shows what the API says. Nothing may write meanwhile."""
    end = time.monotonic() + seconds
    while True:
        mirror.catch_up()
        shown, expected = mirror.dump(), truth(client)
        if shown == expected:
            return
        assert time.monotonic() < end, (shown, expected)
        time.sleep(0.2)


class Work:
    """Random work of an identity provider and of the application in one tenant."""

    def __init__(self, scim: Scim, client: Rollcall, tenant: str, seed: int) -> None:
        self.scim, self.client, self.tenant, self.random = scim, client, tenant, random.Random(seed)
        self.users = [scim.create_user(f"start{number}") for number in range(12)]
        self.groups = [scim.create_group("Start", self.users[:5])]

    def do(self) -> None:
        """One change."""
        choose, scim = self.random, self.scim
        user, group = choose.choice(self.users), choose.choice(self.groups)
        some = choose.sample(self.users, choose.randint(1, len(self.users)))
        match choose.randrange(11):
            case 0 | 1:
                self.users.append(scim.create_user("someone"))
            case 2:
                self.groups.append(scim.create_group("Team", some))
            case 3 if len(self.users) > 8:
                self.users.remove(user)
                scim.send("DELETE", f"/Users/{user}")
            case 4 if len(self.groups) > 3:
                self.groups.remove(group)
                scim.send("DELETE", f"/Groups/{group}")
            case 5:
                scim.set_active(user, choose.random() < 0.5)
            case 6 | 7:
                scim.add_members(group, some)
            case 8:
                scim.remove_members(group, some)
            case 9:
                role = choose.choice(["reviewer", "editor", "owner"])
                self.client.replace_assignments(self.tenant, group, [{"team": choose.choice(self.groups), "role": role}])
            case _:
                scim.patch(f"/Users/{user}", "replace", "displayName", f"Name {choose.random()}")

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Works in a thread until the block ends. Raises what went wrong there."""
        stop, failures = threading.Event(), []

        def work() -> None:
            try:
                while not stop.is_set():
                    self.do()
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        assert not failures, failures


def work_in(dev: Dev, tenant: str, seed: int) -> Work:
    client = dev.client
    return Work(dev.scim(client.create_key(tenant, {"name": "work"})["key"]), client, tenant, seed)


class Editing(Rollcall):
    """A client that changes the answers of the feed, or does something before a request."""

    def __init__(self, dev: Dev) -> None:
        super().__init__(dev.line["app_url"], dev.line["application_key"])
        self.extra: list[dict[str, Any]] = []
        self.before: dict[str, Any] = {}
        self.instead: dict[str, Any] = {}
        self.snapshot: str | None = None

    def status(self) -> types.Status:
        status = super().status()
        return {**status, "snapshot": self.snapshot or status["snapshot"]}

    def changes_page(self, after: str | None = None, **options: Any) -> types.Changes:
        page = super().changes_page(after, **options)
        if options.get("tenant") is None and page["changes"]:
            page["changes"] += [{**page["changes"][-1], **extra} for extra in self.extra]  # type: ignore[misc]
            self.extra = []
        return page

    def _get(self, path: str, **query: Any) -> Any:
        for part in [part for part in self.before if part in path]:
            self.before.pop(part)()
        for part in [part for part in self.instead if path.endswith(part)]:
            return self.instead.pop(part)
        return super()._get(path, **query)


class Waits(threading.Event):
    """Notes how long the mirror waits, and ends it after some waits."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.seconds: list[float | None] = []
        self.most = most

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        if len(self.seconds) == self.most:
            self.set()
        return self.is_set()


def newest(dev: Dev) -> str:
    """The position at the end of the feed. It stands for that of a snapshot a minute later."""
    place = dev.client.status()["newest"]
    assert place
    return place["position"]


def mirror_process(dev: Dev, database: Database, *arguments: str) -> subprocess.Popen[bytes]:
    """The command, as a process that can be killed."""
    command = [sys.executable, "-m", "rollcall_client", "mirror", *database.argument, *arguments]
    return subprocess.Popen(command, env=dev.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def die_before_statement(dev: Dev, database: Database, statement: int) -> bool:
    """Catches up in a process that kills itself (SIGKILL) before a statement. Returns whether it came so far."""
    process = multiprocessing.get_context("fork").Process(target=catch_up_until, args=(dev, database, statement))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def catch_up_until(dev: Dev, database: Database, statement: int) -> None:
    run = Storage._run

    def counted(storage: Storage, sql: str, values: Sequence[Any] = ()) -> int:
        nonlocal statement
        statement -= 1
        if statement == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(storage, sql, values)

    Storage._run = counted  # type: ignore[method-assign]
    Mirror(Rollcall(dev.line["app_url"], dev.line["application_key"]), database.connect()).catch_up()


def find_postgres() -> Path | None:
    """The folder of initdb and postgres, which Debian does not have in the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


@contextmanager
def run_postgres(programs: Path, folder: Path) -> Iterator[str]:
    """A PostgreSQL with its data in a folder, on a socket there. Yields the start of a DSN."""
    as_owner: list[str] = []
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        shutil.chown(folder, "postgres")
        as_owner = ["runuser", "-u", "postgres", "--"]
    data = str(folder / "data")
    initdb = [str(programs / "initdb"), "--pgdata", data, "--username", "mirror", "--auth", "trust", "--no-sync"]
    subprocess.run([*as_owner, *initdb], check=True, stdout=subprocess.DEVNULL)
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    log = (folder.parent / "postgres.log").open("wb")
    server = subprocess.Popen([*as_owner, str(programs / "postgres"), "-D", data, *options], stdout=log, stderr=log)
    try:
        dsn = f"host={folder} user=mirror"
        wait_for_postgres(dsn)
        yield dsn
    finally:
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        server.wait(30)


def wait_for_postgres(dsn: str) -> None:
    import psycopg

    end = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"{dsn} dbname=postgres").close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < end, "PostgreSQL did not start"
            time.sleep(0.1)
