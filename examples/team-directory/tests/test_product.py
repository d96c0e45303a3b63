"""The example without a browser: old tables, a mirror that writes meanwhile, and what run.sh prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
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
