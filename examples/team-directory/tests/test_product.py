"""The example without a browser: old tables, a mirror that writes meanwhile, and what run.sh prints."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread, Timer
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from test_browser import ADMINISTRATOR, EXAMPLE, Running

FORM = {"tenant": "demo", "name": ADMINISTRATOR}


@pytest.fixture
def short_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """An example that trusts its tables for three seconds."""
    monkeypatch.setenv("LONGEST_MIRROR_AGE_SECONDS", "3")
    started = Running(tmp_path)
    yield started
    started.stop()


def log_in(http: httpx.Client) -> httpx.Response:
    [csrf] = re.findall('name="csrf" value="([^"]+)"', http.get("log-in").text)[:1]
    return http.post("log-in", data={**FORM, "csrf": csrf})


def wait_until(check: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_nobody_enters_while_rollcall_cannot_be_reached_for_long(short_age: Running) -> None:
    with httpx.Client(base_url=short_age.url, follow_redirects=True) as http:
        assert "Members" in log_in(http).text
        short_age.rollcall.kill()
        wait_until(lambda: http.get("").status_code == 503)
        assert "nobody can enter" in http.get("").text
        assert http.get("live").status_code == 503
        assert log_in(http).status_code == 503


def test_pages_that_read_local_tables_answer_while_rollcall_hangs(tmp_path: Path) -> None:
    running = Running(tmp_path)
    http = httpx.Client(base_url=running.url, follow_redirects=True, timeout=60)
    try:
        assert "Members" in log_in(http).text
        running.rollcall.send_signal(signal.SIGSTOP)
        # The server has eight threads.
        threads = [Thread(target=http.get, args=("settings",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        start = time.monotonic()
        assert "Members" in http.get("").text
        assert time.monotonic() - start < 15
        for thread in threads:
            thread.join()
        assert http.get("settings").status_code == 502
    finally:
        running.rollcall.send_signal(signal.SIGCONT)
        http.close()
        running.stop()


def test_an_open_page_shows_what_the_mirror_repairs_at_the_same_position(tmp_path: Path) -> None:
    running = Running(tmp_path)
    try:
        with httpx.Client(base_url=running.url, follow_redirects=True) as http:
            [seen] = re.findall('data-version="([^"]+)"', log_in(http).text)
            assert http.get("live", params={"seen": seen}).status_code == 204
            with closing(sqlite3.connect(tmp_path / "directory.db")) as connection, connection:
                connection.execute("UPDATE rollcall_users SET display_name = 'Repaired'")
            wait_until(lambda: http.get("live", params={"seen": seen}).status_code == 200)
            live = http.get("live", params={"seen": seen})
            assert "Repaired" in live.text
            assert http.get("live", params={"seen": live.headers["Version"]}).status_code == 204
    finally:
        running.stop()


def test_open_pages_share_one_reading_of_a_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLCALL_APP_URL", "http://127.0.0.1:9/app/v1")
    monkeypatch.setenv("ROLLCALL_APPLICATION_KEY", "rca_x")
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import app
    import database

    readings: list[str] = []
    name = "Ada"

    def members(incarnation: str) -> list[dict[str, Any]]:
        readings.append(incarnation)
        return [{"display_name": name, "user_name": "ada", "active": 1, "roles": []}]

    person = {"id": "u", "incarnation": "one", "tenant": "acme", "active": 1, "display_name": "Ada", "user_name": "ada"}
    monkeypatch.setattr(database, "members", members)
    monkeypatch.setattr(database, "user_by_id", lambda *_: person)
    monkeypatch.setitem(app.app.config, "MIRROR", SimpleNamespace(age_seconds=0.0))
    http = app.app.test_client()
    seen = http.get("/live").headers["Version"]
    readings.clear()
    assert [http.get("/live", query_string={"seen": seen}).status_code for _ in range(20)] == [204] * 20
    assert len(readings) <= 1
    name = "Grace"
    monkeypatch.setattr(app, "VERSION_SECONDS", 0.0)
    live = http.get("/live", query_string={"seen": seen})
    assert live.status_code == 200 and "Grace" in live.text


def test_a_key_is_made_although_rollcall_is_slow_and_an_id_of_no_key_is_not_found(tmp_path: Path) -> None:
    running = Running(tmp_path)
    try:
        with httpx.Client(base_url=running.url, follow_redirects=True, timeout=60) as http:
            log_in(http)
            [csrf] = re.findall('name="csrf" value="([^"]+)"', http.get("settings").text)[:1]
            assert http.post("settings/keys/%2E/revoke", data={"csrf": csrf}).status_code == 404
            running.rollcall.send_signal(signal.SIGSTOP)
            # Longer than the client of pages waits.
            Timer(7, running.rollcall.send_signal, (signal.SIGCONT,)).start()
            made = http.post("settings/keys", data={"csrf": csrf, "name": "Okta"})
            assert made.status_code == 200 and 'id="key"' in made.text
    finally:
        running.rollcall.send_signal(signal.SIGCONT)
        running.stop()


def test_a_name_with_u0000_is_of_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import database

    def refuse(*_: str) -> list[dict[str, Any]]:
        raise ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes")

    monkeypatch.setattr(database, "query", refuse)
    for tenant, name in (("demo\0", ADMINISTRATOR), ("demo", "a\0b")):
        assert database.user_by_name(tenant, name) is None


def test_a_person_may_arrive_while_the_page_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_FILE", str(tmp_path / "directory.db"))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import database
    from rollcall_client.mirror import core
    from rollcall_client.mirror.storage import Storage

    storage = Storage(database.connect())
    group = {"id": "g", "displayName": "Readers", "meta": {"version": 'W/"1"'}}
    assigned = {"assignments": [{"team": "g", "role": "reviewer"}, {"team": "absent", "role": "owner"}]}
    storage.apply(core.PutTenant("one", "acme", 1, 1, is_seen=True))
    storage.apply(core.PutGroup(core.group_row("one", {**group, f"{core.EXTENSION}Group": assigned})))
    read = database.query

    def arrive(id: str) -> None:
        user = {"id": id, "userName": f"{id}@example.com", "displayName": id, "meta": {"version": 'W/"1"'}}
        storage.apply(core.PutUser(core.user_row("one", user)))
        storage.apply(core.AddMembers("one", "g", (id,)))

    def read_and_arrive(*values: Any) -> list[dict[str, Any]]:
        rows = read(*values)
        arrive("second")
        return rows

    arrive("first")
    monkeypatch.setattr(database, "query", read_and_arrive)
    for expected in (["first"], ["first", "second"]):
        people = database.members("one")
        assert [person["id"] for person in people] == expected
        assert all([(role["role"], role["team_name"]) for role in one["roles"]] == [("reviewer", "Readers")] for one in people)


def test_what_run_sh_prints_works_as_it_stands() -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "PORT": "0"}
    running = subprocess.Popen([str(EXAMPLE / "run.sh")], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout
        printed = ""
        while not printed.endswith("/\n"):
            line = running.stdout.readline()
            assert line, printed
            printed += line
        url = printed.split()[-1]
        to_paste = "".join(line for line in printed.splitlines(keepends=True) if line.startswith("  "))
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", to_paste], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and '"active":false' in done.stdout, (done, to_paste)
        with httpx.Client(base_url=url, follow_redirects=True) as http:
            log_in(http)
            wait_until(lambda: "Barbara Jensen" in http.get("").text and "deactivated" in http.get("").text)
    finally:
        running.terminate()
        running.wait()
