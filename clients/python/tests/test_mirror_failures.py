"""What the mirror does when Rollcall fails, and what it leaves alone in the database."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Dev
from mirror_support import Database, Waits, both, mirror_of
from played import USER, Played
from test_steps import Alone

from rollcall_client import (
    ConnectionLost,
    ProblemError,
    ServerError,
    TooManyRequests,
    Unauthorized,
    UnexpectedAnswer,
    types,
)
from rollcall_client.mirror import Mirror, TenantKeepsChanging
from rollcall_client.mirror.core import PutTenant
from rollcall_client.mirror.storage import Storage
from rollcall_client.transport import _sleep


class Failing(Alone):
    """A client whose feed fails before it answers."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures_of_feed = list(failures)

    def changes_page(self, after: str | None = None, **options: Any) -> types.Changes:
        if self.failures_of_feed:
            raise self.failures_of_feed.pop(0)
        return super().changes_page(after, **options)


def problem(kind: type[ProblemError], status: int, retry_after: float | None) -> ProblemError:
    return kind(status, "about:blank", "Wait", "Wait.", None, retry_after)


def test_the_mirror_goes_on_after_failures_that_pass_and_waits_as_long_as_it_is_asked_to() -> None:
    client = Failing(
        problem(TooManyRequests, 429, 120.0),
        problem(ServerError, 503, 3.0),
        problem(ServerError, 503, None),
        ConnectionLost("no answer"),
        UnexpectedAnswer("not JSON"),
        TenantKeepsChanging("it changed"),
    )
    stop = Waits(7)
    Mirror(client, sqlite3.connect(":memory:")).run(stop)
    assert stop.seconds == [120, 5, 5, 5, 5, 5, 1] and client.failures_of_feed == []


def test_the_mirror_ends_with_refusals_that_do_not_pass() -> None:
    with pytest.raises(Unauthorized):
        Mirror(Failing(problem(Unauthorized, 401, None)), sqlite3.connect(":memory:")).run(Waits(9))


def cursor_ended() -> None:
    raise ProblemError(400, "urn:rollcall:problem:expiredCursor", "Bad Request", "The cursor ended.", None)


class Unsettled(Alone):
    """A deployment with one tenant whose users cannot be read to the end."""

    def tenants(self) -> Any:
        return iter([self.tenant("acme")])

    def tenant(self, tenant: str) -> types.Tenant:
        return {"tenant": tenant, "incarnation": "one", "version": 1, "rootTeam": None}  # type: ignore[typeddict-item]

    def users(self, *_: Any, **__: Any) -> Any:
        return cursor_ended()


def test_a_stop_ends_the_wait_for_another_attempt() -> None:
    deployment, stop = Played(), threading.Event()
    client = deployment.client()
    client._transport._sleep = _sleep

    def busy(_: httpx.Request) -> httpx.Response:
        threading.Timer(0.2, stop.set).start()
        return httpx.Response(503, headers={"Retry-After": "30"})

    deployment.instead["/status"] = busy
    start = time.monotonic()
    Mirror(client, sqlite3.connect(":memory:")).run(stop)
    assert time.monotonic() - start < 5 and deployment.requests == ["GET /status"]


def test_a_stop_ends_a_snapshot_before_its_next_request() -> None:
    deployment, stop = Played(), threading.Event()
    client = deployment.client()

    def stop_then_answer(_: httpx.Request) -> httpx.Response:
        stop.set()
        return httpx.Response(200, json={"Resources": [USER], "nextCursor": "more"})

    deployment.instead["/tenants/acme/Users"] = stop_then_answer
    connection = sqlite3.connect(":memory:")
    Mirror(client, connection).run(stop)
    assert deployment.requests[-1] == "GET /tenants/acme/Users"
    assert connection.execute("SELECT position FROM rollcall_mirror_state").fetchone() == ("",)
    # A client that other threads use too is not stopped for them.
    assert client.status()


def test_a_tenant_that_keeps_changing_is_a_failure_that_passes() -> None:
    mirror = Mirror(Unsettled(), sqlite3.connect(":memory:"))
    with pytest.raises(TenantKeepsChanging, match="Try again"):
        mirror.step()
    stop = Waits(2)
    mirror.run(stop)
    assert stop.seconds == [5, 5]


def test_the_age_grows_while_rollcall_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "time", lambda: now)
    client = Failing()
    mirror = Mirror(client, sqlite3.connect(":memory:"))
    assert mirror.age_seconds == math.inf
    mirror.catch_up()
    assert mirror.age_seconds == 0
    now += 30
    assert mirror.age_seconds == 30
    client.failures_of_feed = [ConnectionLost("no answer")]
    with pytest.raises(ConnectionLost):
        mirror.step()
    assert mirror.age_seconds == 30
    mirror.step()
    assert mirror.age_seconds == 0


@pytest.mark.parametrize(("elapsed", "set_by"), [(0, 28_800), (28_800, -90_000)])
def test_the_age_grows_while_the_machine_sleeps_and_when_its_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch, elapsed: float, set_by: float
) -> None:
    monotonic, clock = 1000.0, 1_790_000_000.0
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    monkeypatch.setattr(time, "time", lambda: clock)
    mirror = Mirror(Failing(), sqlite3.connect(":memory:"))
    mirror.catch_up()
    monotonic, clock = monotonic + elapsed, clock + set_by
    assert mirror.age_seconds == 28_800


def test_a_commit_that_fails_ends_its_transaction(tmp_path: Path) -> None:
    """Without WAL a reader is in the way. The transaction would keep other readers out, and fail all later ones."""
    file = str(tmp_path / "mirror.db")
    storage = Storage(sqlite3.connect(file, timeout=0.1))
    reader, other = sqlite3.connect(file, isolation_level=None), sqlite3.connect(file, timeout=0.1)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM rollcall_users").fetchall()
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            with storage.transaction():
                storage.apply(PutTenant("one", "acme", 1, 1, is_seen=True))
        assert other.execute("SELECT * FROM rollcall_tenants").fetchall() == []
    reader.execute("COMMIT")
    with storage.transaction():
        storage.apply(PutTenant("one", "acme", 1, 1, is_seen=True))
    assert len(other.execute("SELECT * FROM rollcall_tenants").fetchall()) == 1


@both
def test_the_error_of_the_database_is_shown_and_not_that_of_the_rollback(database: Database) -> None:
    storage = Storage(database.connect())
    with pytest.raises(Exception) as failed:
        with storage.transaction():
            # SQLite has ended the transaction itself, as after a full disk. PostgreSQL has lost the connection.
            if database.is_sqlite:
                storage._run("INSERT OR ROLLBACK INTO rollcall_mirror_state SELECT * FROM rollcall_mirror_state")
            else:
                storage._run("SELECT pg_terminate_backend(pg_backend_pid())")
    assert "UNIQUE constraint" in str(failed.value) or "terminat" in str(failed.value)


def dictionary(cursor: sqlite3.Cursor, row: Any) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row)}


@both
def test_the_connection_may_have_rows_of_its_own(dev: Dev, database: Database) -> None:
    connection = database.connect()
    if database.is_sqlite:
        factories: list[Callable[..., Any]] = [dictionary, sqlite3.Row]
    else:
        from psycopg import rows

        factories = [rows.dict_row, rows.namedtuple_row]
    for factory in factories:
        connection.row_factory = factory
        mirror = Mirror(dev.client, connection)
        mirror.catch_up()
        assert mirror.dump()["tenants"].keys() == {"demo"}
        row = connection.execute("SELECT 1 AS one").fetchone()
        assert (row["one"] if factory is not factories[-1] or database.is_sqlite else row.one) == 1


@both
@pytest.mark.parametrize("version", [3, 4])
def test_permanent_staging_tables_of_another_mirror_stay(dev: Dev, database: Database, version: int) -> None:
    """Also when the mirror makes the tables of an earlier version anew."""
    mirror_of(dev, database)
    connection = database.connect()
    connection.execute(f"UPDATE rollcall_mirror_state SET staging = 'another', schema_version = {version}")
    for kind in ("users", "groups"):
        connection.execute(f"CREATE TABLE rollcall_staging_{kind} (incarnation TEXT, mine TEXT)")
        connection.execute(f"INSERT INTO rollcall_staging_{kind} VALUES ('one', 'kept')")
    connection.commit()
    connection.close()
    mirror = mirror_of(dev, database)
    mirror.catch_up()
    own = Storage(database.connect())
    own.begin_staging()
    own.unstage("one")
    own.end_staging()
    own.end_staging()
    for kind in ("users", "groups"):
        assert database.query(f"SELECT * FROM rollcall_staging_{kind}") == [("one", "kept")]
