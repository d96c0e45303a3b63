"""A shell that runs the commands of one page, one after another, as a reader would."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

SECONDS_PER_COMMAND = 120
# curl answers 0 for a request that is refused. Here it does not. For comments: `field NAME` prints the first value that
# this field has in the JSON on stdin.
PROFILE = r"""set -o pipefail
curl() { command curl --fail-with-body "$@"; }
field() { grep -o "\"$1\": *\"[^\"]*" | head -n 1 | sed 's/.*"//'; }
"""


class Shell:
    """A bash with a folder of its own. Variables, functions and the folder stay from command to command."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.errors = folder / "stderr"
        self.keyboard, self.terminal = os.openpty()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            pass_fds=[self.terminal],
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._write(PROFILE)

    def run(self, command: str, typed: str = "") -> tuple[int, str]:
        """Runs a command. If `typed` is not empty, the command reads it from a terminal. Returns its exit status and what it printed. If it failed, stderr is part of that."""
        if not typed:
            return self._run(command, "/dev/null")
        _, typed = self._run(f'printf "%s\\n" "{typed}"', "/dev/null")
        os.write(self.keyboard, typed.encode())
        return self._run(command, f"&{self.terminal}")

    def _run(self, command: str, stdin: str) -> tuple[int, str]:
        mark, end = uuid.uuid4().hex, uuid.uuid4().hex
        self._write(
            f"IFS= read -r -d '' _docs_command <<'{end}' || true\n{command}\n{end}\n"
            f"eval \"$_docs_command\" <{stdin} 2>'{self.errors}'\nprintf '\\n{mark} %s\\n' $?\n"
        )
        printed: list[str] = []
        until = time.monotonic() + SECONDS_PER_COMMAND
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                self.stop()
                return 124, "".join(printed) + f"(it did not end within {SECONDS_PER_COMMAND} seconds)"
            if line is None:
                return 1, "".join(printed) + "(the shell has ended)"
            if line.startswith(mark):
                status = int(line.split()[1])
                errors = self.errors.read_text(errors="replace") if status else ""
                return status, "".join(printed).removesuffix("\n") + errors
            printed.append(line)

    def stop(self) -> None:
        """Ends the shell and what it started."""
        stop_group(self.process)
        for descriptor in (self.keyboard, self.terminal):
            os.close(descriptor)

    def _write(self, text: str) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except BrokenPipeError:
            self.lines.put(None)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)


class Server:
    """A command that goes on until the end of the page, such as `make run`."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.printed = ""
        self.line = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for_line(self, prefix: str, seconds: float) -> str:
        """The first line with this beginning. Raises TimeoutError if there is none."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            ended = self.process.poll() is not None
            for line in self.printed.splitlines(keepends=True):
                if line.startswith(prefix) and line.endswith("\n"):
                    return line.strip()
            if ended:
                break
            self.line.wait(0.2)
            self.line.clear()
        raise TimeoutError(f"it printed no line that begins with {prefix!r}:\n{self.printed}")

    def stop(self) -> None:
        """Ends the command and what it started."""
        stop_group(self.process)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.printed += line
            self.line.set()


def stop_group(process: subprocess.Popen[str]) -> None:
    """Ends a process and all of its group."""
    for which in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, which)
        except ProcessLookupError:
            break
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
    process.wait(5)


def matches(shown: str, printed: str) -> bool:
    """Whether the output is as a page shows it. White space does not count. `…` stands for any text."""
    parts = [re.escape("".join(part.split())) for part in shown.split("…")]
    return re.fullmatch(".*".join(parts), "".join(printed.split()), re.DOTALL) is not None
