"""The command says in one line what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from conftest import Dev
from mirror_support import Database, both, mirror_of

from rollcall_client.mirror import connect_sqlite
from rollcall_client.mirror.storage import Storage

SETTINGS = {"ROLLCALL_APP_URL": "http://127.0.0.1:9/app/v1", "ROLLCALL_APPLICATION_KEY": "rca_x"}


def run(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """The status of the command and what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROLLCALL_")}
    command = [sys.executable, "-m", "rollcall_client", "mirror", *arguments]
    done = subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("more", [["--once"], ["--dump"], []])
def test_a_database_that_cannot_be_used_is_one_line(tmp_path: Path, more: list[str]) -> None:
    (tmp_path / "text").write_text("This is no database. " * 100)
    wrong = {
        "--sqlite": [str(tmp_path), str(tmp_path / "text"), str(tmp_path / "absent" / "mirror.db")],
        "--postgres": ["host=/nowhere", "no DSN", "postgresql://127.0.0.1:1/none?connect_timeout=2"],
    }
    for option, databases in wrong.items():
        for database in databases:
            status, out, error = run(option, database, *more, **SETTINGS)
            assert (status, out) == (1, "") and "Traceback" not in error, error
            assert "database cannot be used" in error or "There is no file" in error


def test_wrong_settings_are_one_line() -> None:
    for name, value in (("ROLLCALL_APP_URL", "127.0.0.1:9"), ("ROLLCALL_APPLICATION_KEY", "rca_x\n")):
        status, out, error = run("--sqlite", ":memory:", **{**SETTINGS, name: value})
        assert (status, out) == (1, "") and error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:Jehoshaphat word@127.0.0.1/none",
        "postgresql://u:Jehoshaphat%et@127.0.0.1/none",
        "host=127.0.0.1 password=pass Jehoshaphat",
        "postgresql://127.0.0.1:Jehoshaphat/none",
        "postgresql://u:Jehoshaphat/word@127.0.0.1/none",
        "postgresql://u:word@Jehoshaphat@127.0.0.1/none",
    ],
)
def test_a_wrong_dsn_is_not_shown_since_it_may_have_a_password(dsn: str) -> None:
    status, out, error = run("--postgres", dsn, "--once", **SETTINGS)
    assert (status, out) == (1, "") and "Traceback" not in error
    assert "Jehoshaphat" not in error and "database cannot be used" in error


@both
def test_the_mirror_is_printed_without_rollcall(dev: Dev, database: Database, tmp_path: Path) -> None:
    mirror_of(dev, database).catch_up()
    status, out, error = run(*database.argument, "--dump")
    assert (status, error) == (0, "") and '"demo"' in out
    absent = tmp_path / "absent.db"
    status, out, error = run("--sqlite", str(absent), "--dump")
    assert (status, out) == (1, "") and "There is no file" in error and not absent.exists()


class Busy(BaseHTTPRequestHandler):
    """A deployment that asks to wait. It notes that it was asked."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Retry-After", "50")
        self.end_headers()
        self.server.asked.set()  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


def start(command: list[str], **settings: str) -> subprocess.Popen[bytes]:
    """Starts a command that hears SIGINT. A shell lets its background jobs ignore it, and their children inherit that."""

    def hear() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **settings}, stdout=pipe, stderr=pipe, preexec_fn=hear)


@pytest.mark.parametrize(("more", "expected"), [([], 0), (["--once"], 1)])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_command_at_once(name: str, more: list[str], expected: int) -> None:
    server = HTTPServer(("127.0.0.1", 0), Busy)
    server.asked = Event()  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/app/v1"
    command = [sys.executable, "-m", "rollcall_client", "mirror", "--sqlite", ":memory:", *more]
    process = start(command, **{**SETTINGS, "ROLLCALL_APP_URL": url})
    try:
        assert server.asked.wait(30)  # type: ignore[attr-defined]
        process.send_signal(signal.Signals[name])
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
        server.shutdown()
        server.server_close()
    assert process.returncode == expected and b"Traceback" not in error, error
    assert (b"before it had caught up" in error) == bool(expected)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_dump_that_a_signal_ends_is_a_failure(name: str, tmp_path: Path) -> None:
    """A backup script must not take the empty output for a mirror."""
    file = str(tmp_path / "mirror.db")
    with closing(connect_sqlite(file)) as connection:
        Storage(connection)
        command = [sys.executable, "-m", "rollcall_client", "mirror", "--sqlite", file, "--dump"]
        connection.execute("BEGIN IMMEDIATE")
        process = start(command)
        try:
            # It has opened the file, and waits for the lock.
            wait_until_open(process.pid, file)
            process.send_signal(signal.Signals[name])
            time.sleep(0.2)
            connection.execute("ROLLBACK")
            out, error = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out) == (1, b"") and b"before it had printed the mirror" in error, error


def wait_until_open(pid: int, file: str) -> None:
    end = time.monotonic() + 20
    while not any(is_same(one, file) for one in Path(f"/proc/{pid}/fd").iterdir()):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_same(one: Path, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:  # A process may close a file at any time.
        return False
