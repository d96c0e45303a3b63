"""A real `rollcall dev` for the tests. ROLLCALL_BIN is the built program."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollcall_client import Rollcall

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Scim:
    """What an identity provider does, with the key of one tenant."""

    url: str
    key: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def send(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/scim+json"}
        response = self.http.request(method, self.url + path, json=body, headers=headers)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def create_user(self, name: str) -> str:
        email = f"{name}-{uuid.uuid4().hex[:8]}@example.com"
        person = {"givenName": name, "familyName": "Test"}
        emails = [{"value": email, "primary": True}]
        body = {"userName": email, "name": person, "displayName": name, "emails": emails}
        return str(self.send("POST", "/Users", body)["id"])

    def create_group(self, name: str, members: list[str]) -> str:
        unique = f"{name} {uuid.uuid4().hex[:8]}"
        body = {"displayName": unique, "members": [{"value": member} for member in members]}
        return str(self.send("POST", "/Groups", body)["id"])

    def patch(self, path: str, op: str, attribute: str, value: Any) -> None:
        self.send("PATCH", path, {"schemas": [PATCH_OP], "Operations": [{"op": op, "path": attribute, "value": value}]})

    def add_members(self, group: str, members: list[str]) -> None:
        self.patch(f"/Groups/{group}", "add", "members", [{"value": member} for member in members])

    def remove_members(self, group: str, members: list[str]) -> None:
        self.patch(f"/Groups/{group}", "remove", "members", [{"value": member} for member in members])

    def set_active(self, user: str, active: bool) -> None:
        self.patch(f"/Users/{user}", "replace", "active", active)


@dataclass
class Dev:
    """A running `rollcall dev`."""

    line: dict[str, str]
    process: subprocess.Popen[bytes]
    program: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ROLLCALL_APP_URL": self.line["app_url"],
            "ROLLCALL_APPLICATION_KEY": self.line["application_key"],
        }

    @cached_property
    def client(self) -> Rollcall:
        return Rollcall(self.line["app_url"], self.line["application_key"])

    def scim(self, key: str | None = None) -> Scim:
        return Scim(self.line["base_url"], key or self.line["key"])

    def operator(self, *arguments: str) -> str:
        """Runs a command of the operator on the table of this process."""
        table = ["--table", self.line["table"], "--endpoint-url", self.line["dynamodb_endpoint"]]
        done = subprocess.run([self.program, *arguments, *table], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_for_change(self, resource: str) -> None:
        """Waits until the feed has a change of this resource. It comes within a second of its commit."""
        end = time.monotonic() + 20
        while all(one.change["resourceId"] != resource for one in self.client.changes(follow=False)):
            assert time.monotonic() < end, f"no change of {resource} in the feed"
            time.sleep(0.1)

    def stop(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()


def start_dev(folder: Path, *arguments: str) -> Dev:
    """Starts `rollcall dev` and waits for its line."""
    program = os.environ.get("ROLLCALL_BIN")
    if not program:
        pytest.fail("Set ROLLCALL_BIN to the built rollcall: cargo build --features cli, then target/debug/rollcall.")
    log = (folder / "rollcall.log").open("wb")
    command = [program, "dev", "--json", "--in-memory", "--port", "0", "--rate-limit", "off", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout
    line = process.stdout.readline()
    assert line, f"rollcall dev did not start: see {log.name}"
    return Dev(json.loads(line), process, program)


@pytest.fixture(scope="module")
def dev_of_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One process for the tests of a file."""
    running = start_dev(tmp_path_factory.mktemp("dev"))
    yield running
    running.stop()


@pytest.fixture
def dev(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Dev]:
    """The process of the file. A file that is marked with `dev_for_each_test` has little to compare in each test."""
    if request.node.get_closest_marker("dev_for_each_test") is None:
        yield request.getfixturevalue("dev_of_file")
        return
    running = start_dev(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def client(dev: Dev) -> Rollcall:
    return dev.client


@pytest.fixture
def tenant(dev: Dev) -> str:
    """A new tenant, where a deleted user is kept but hidden."""
    name = f"t{uuid.uuid4().hex[:10]}"
    dev.client.create_tenant({"tenant": name, "policy": "veza"})
    return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL for all tests. mirror_support is imported here, since it imports this file."""
    from mirror_support import find_postgres, run_postgres

    programs = find_postgres()
    if programs is None:
        pytest.skip("PostgreSQL is not installed. Install it with: apt-get install postgresql")
    # The path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pg") as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer) / "p"
        folder.mkdir()
        with run_postgres(programs, folder) as dsn:
            yield dsn


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """SQLite, and PostgreSQL too in the tests that are marked with `both`."""
    from mirror_support import Database

    if getattr(request, "param", "sqlite") == "sqlite":
        return Database(["--sqlite", str(tmp_path / "mirror.db")], is_sqlite=True)
    import psycopg

    dsn, name = request.getfixturevalue("postgres"), f"m{uuid.uuid4().hex[:8]}"
    with psycopg.connect(f"{dsn} dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return Database(["--postgres", f"{dsn} dbname={name}"], is_sqlite=False)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Ends with the line that .ci/run counts."""
    count = {name: len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed", "error")}
    print(f"client-python: {count['passed']} passed, {count['failed'] + count['error']} failed")
