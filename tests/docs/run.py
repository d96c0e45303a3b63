#!/usr/bin/env python3
"""Runs the commands of the pages, as they stand there and in their order. Ends with "docs-test: N passed, M failed".

    python3 tests/docs/run.py [PAGE…]        (make docs-test)

ROLLCALL_BIN names a built `rollcall` (default: target/debug/rollcall).

Each page has a folder and a shell of its own, and a `rollcall dev` that plays the deployment: ROLLCALL_TABLE names its
table, BASE and APP are its URLs. If a page says `make run`, that is run instead, and the line `export …` that it prints
is pasted into the shell. A command must end with 0, and a request must not be refused. If the page shows output, the
command must print it; `…` stands for any text.

Relative links must lead somewhere, and docs/README.md must list every page.

A block that cannot run here has a comment with the reason (see blocks.py). The script lists these blocks.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path

from blocks import Block, Command, read_blocks
from links import INDEX, ROOT, all_pages, broken_links, missing_in_index
from shell import Server, Shell, matches
from spans import Commands, spans

ROLLCALL = Path(os.environ.get("ROLLCALL_BIN") or ROOT / "target/debug/rollcall").resolve()
# The first build of `make run` is part of it.
SECONDS_TO_START = 1800
SERVER = re.compile(r"make run$|rollcall dev( |$)")


class Result:
    """What was run, what failed, and what was not run."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.not_run: list[str] = []

    def fail(self, page: str, line: int, text: str, why: str) -> None:
        """Reports a failure."""
        self.failed += 1
        print(f"{page}:{line}: {why}\n    {text}", flush=True)


class Page:
    """One page while its commands run."""

    def __init__(self, name: str, blocks: list[Block], result: Result) -> None:
        self.name, self.blocks, self.result = name, blocks, result
        self.servers: list[Server] = []
        self.shell: Shell | None = None

    def run(self) -> None:
        """Runs the commands of all blocks. After a failure, what follows may depend on it and is not run."""
        with tempfile.TemporaryDirectory(prefix="docs-test-") as folder:
            try:
                self.start(Path(folder))
                for block in self.blocks:
                    for command in block.before:
                        status, printed = self.shell.run(command)
                        if status:
                            return self.result.fail(self.name, block.line, printed, f"before the block: {command}")
                    for command in block.commands():
                        if why := self.fault(command, block.typed):
                            return self.result.fail(self.name, command.line, command.text, why)
                        self.result.passed += 1
            finally:
                for started in [*self.servers, self.shell]:
                    if started:
                        started.stop()

    def start(self, folder: Path) -> None:
        """Starts the shell, and the deployment unless the page itself starts one."""
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "bin/rollcall").symlink_to(ROLLCALL)
        home = Path.home()
        venv = ROOT / ".venv-client-python/bin"
        self.environment = {
            "PATH": f"{folder / 'bin'}:{venv}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            # What cargo needs in spite of another HOME.
            "CARGO_HOME": os.environ.get("CARGO_HOME", str(home / ".cargo")),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(home / ".rustup")),
            "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")),
        }
        commands = [command.text for block in self.blocks for command in block.commands()]
        if not any(SERVER.match(command) for command in commands):
            server = Server("rollcall dev --in-memory --json --port 0", folder, self.environment)
            self.servers.append(server)
            session = json.loads(server.wait_for_line("{", 60))
            self.environment |= {
                "ROLLCALL_TABLE": session["table"],
                "BASE": session["base_url"],
                "APP": session["app_url"],
                "ROLLCALL_BIN": str(ROLLCALL),
            }
            # On AWS, the tool finds DynamoDB by itself.
            tool = folder / "bin/rollcall"
            tool.unlink()
            tool.write_text(f'#!/bin/sh\nexec "{ROLLCALL}" "$@" --endpoint-url {session["dynamodb_endpoint"]}\n')
            tool.chmod(0o755)
        self.shell = Shell(folder, self.environment)

    def fault(self, command: Command, typed: str) -> str | None:
        """Runs a command. Returns what is wrong."""
        if SERVER.match(command.text):
            return self.serve(command)
        status, printed = self.shell.run(command.text, typed)
        if status:
            return f"it ended with {status} and printed:\n{printed}\n"
        if command.output and not matches(command.output, printed):
            return f"it printed:\n{printed}\nThe page shows:\n{command.output}"
        return None

    def serve(self, command: Command) -> str | None:
        """Starts what goes on to the end of the page, on free ports, and pastes its `export` line."""
        text = command.text if command.text.startswith("make") else f"{command.text} --port 0"
        server = Server(text, ROOT, self.environment | {"ARGS": "--in-memory --port 0"})
        self.servers.append(server)
        try:
            line = server.wait_for_line("export ", SECONDS_TO_START)
        except TimeoutError as error:
            return str(error)
        shown = re.sub(r"(127\.0\.0\.1):\d+", r"\1:…", command.output)
        if not matches(f"…{shown}…", server.printed):
            return f"it printed:\n{server.printed}\nThe page shows:\n{command.output}"
        status, printed = self.shell.run(line)
        return printed if status else None


def check_page(page: Path, commands: Commands, result: Result) -> None:
    """Checks one page, and runs what it has to run."""
    name, path = str(page), ROOT / page
    blocks, wrong = read_blocks(path)
    for line, link, why in broken_links(page):
        result.fail(name, line, link, why)
    to_run: list[Block] = []
    for line, why in wrong:
        result.fail(name, line, "", why)
    for block in blocks:
        if block.not_run is not None:
            result.not_run.append(f"{name}:{block.line}: {block.not_run}")
        elif block.language == "console":
            try:
                block.commands()
            except ValueError as error:
                result.fail(name, block.line, block.text, str(error))
            else:
                to_run.append(block)
        elif why := block.fault():
            result.fail(name, block.line, block.text, why)
    # The changelog names commands of earlier versions.
    for line, command in [] if name == "CHANGELOG.md" else spans(path):
        if why := commands.fault(command):
            result.fail(name, line, command, why)
        else:
            result.passed += 1
    if to_run:
        Page(name, to_run, result).run()


def main() -> int:
    """Checks the pages that the arguments name, or all."""
    if not ROLLCALL.exists():
        print(f"there is no {ROLLCALL}: cargo build --features cli --bin rollcall", file=sys.stderr)
        return 2
    pages = [Path(name).resolve().relative_to(ROOT) for name in sys.argv[1:]] or all_pages()
    result, commands = Result(), Commands(ROLLCALL, ROOT)
    for page in missing_in_index():
        result.fail(str(INDEX), 1, str(page), "it does not list this page")
    for page in pages:
        check_page(page, commands, result)
    print(f"\n{len(result.not_run)} blocks cannot run here:")
    for line in result.not_run:
        print(f"  {line}")
    print(f"docs-test: {result.passed} passed, {result.failed} failed")
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
