"""The Python of README.md and of docs/application.md runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from conftest import Dev
from test_webhook import BODY, SECRET, signed

from rollcall_client import FollowedChange, Rollcall
from rollcall_client.mirror import Mirror, connect_sqlite

CLIENT = Path(__file__).resolve().parents[1]
APPLICATION = CLIENT.parents[1] / "docs" / "application.md"


class OwnTables:
    """What the documentation calls `database`."""

    def __init__(self, position: str | None) -> None:
        self.place, self.applied, self.snapshots, self.seq = position, [], 0, 0

    def position(self) -> str | None:
        return self.place

    def transaction(self) -> Any:
        return nullcontext()

    def last_seq(self) -> int:
        return self.seq

    def apply(self, change: FollowedChange | dict[str, Any]) -> None:
        self.applied.append(change.seq if isinstance(change, FollowedChange) else change["seq"])

    def save_seq(self, seq: int) -> None:
        self.seq = seq

    def save_position(self, position: str) -> None:
        self.place = position

    def take_snapshot(self, _: Rollcall) -> None:
        self.snapshots += 1


def blocks(file: Path, heading: str, language: str = "python") -> list[str]:
    section = file.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def ended(dev: Dev, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes on without an end in the documentation ends when it has caught up."""
    for name in ("ROLLCALL_APP_URL", "ROLLCALL_APPLICATION_KEY"):
        monkeypatch.setenv(name, dev.environment[name])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Mirror, "run", Mirror.catch_up)
    pages = Rollcall.feed_pages
    monkeypatch.setattr(Rollcall, "feed_pages", lambda self, after, tenant=None, **_: pages(self, after, tenant=tenant, follow=False))


@pytest.mark.usefixtures("ended")
def test_the_readme_runs(dev: Dev, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = CLIENT / "README.md"
    read, change = blocks(readme, "Read")
    exec(read, {})
    exec(change, {})
    assert dev.client.role("demo", "billing")["displayName"] == "Payments"
    assert "break-glass@demo.invalid" in capsys.readouterr().out

    [mirror] = blocks(readme, "Keep a mirror")
    exec(mirror, {})
    assert (tmp_path / "product.db").exists()

    own, one_tenant = blocks(readme, "Follow changes into your own tables")
    tables = OwnTables(None)
    exec(own, {"database": tables})
    assert tables.applied == list(range(1, len(tables.applied) + 1)) and tables.place
    followed, end = list(tables.applied), tables.place
    tables.place = ""
    exec(own, {"database": tables})
    assert tables.applied == followed, "what comes again after a crash is ignored"
    of_tenant = OwnTables(None)
    exec(one_tenant, {"database": of_tenant})
    assert 0 < len(of_tenant.applied) < len(followed) and of_tenant.place == end
    lost = OwnTables("0123456789abcdef-1")
    exec(own, {"database": lost})
    assert lost.snapshots == 1

    [verify] = blocks(readme, "Verify webhooks")
    for body, expected in ((BODY.encode(), None), (b"{}", 401)):
        names: dict[str, Any] = {"secret": SECRET, "body": body, "headers": signed()}
        exec(verify, names)
        assert names.get("status") == expected


@pytest.mark.usefixtures("ended")
def test_the_mirror_of_the_documentation_runs() -> None:
    mirror, look_up = blocks(APPLICATION, "Keep a mirror")
    exec(mirror, {})
    log_in, administrators = blocks(APPLICATION, "Keep a mirror", "sql")
    names: dict[str, Any] = {}
    exec(look_up.replace("BJensen@Example.com", "Break-Glass@Demo.invalid"), names)
    [(user, _, role)] = names["rows"]
    assert names["log_in"].strip() == log_in.strip()
    assert role == "admin"
    assert connect_sqlite("product.db").execute(administrators, ("demo",)).fetchall() == [(user,)]


def test_the_test_of_the_documentation_runs(dev: Dev, tmp_path: Path) -> None:
    (tmp_path / "test_product.py").write_text("".join(blocks(APPLICATION, "Test your code")))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rollcall").symlink_to(Path(dev.program).resolve())
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
