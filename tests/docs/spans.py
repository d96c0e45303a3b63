"""Checks the commands that stand in the text and in the tables of a page: `rollcall …` and `make …`."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

SPAN = re.compile(r"(?<!`)`((?:rollcall|make) [^`]+)`(?!`)")
FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)


def spans(page: Path) -> list[tuple[int, str]]:
    """The commands of a page outside its blocks, with their lines."""
    text = FENCED.sub(lambda block: "\n" * block[0].count("\n"), page.read_text())
    return [(text.count("\n", 0, span.start()) + 1, " ".join(span[1].split())) for span in SPAN.finditer(text)]


class Commands:
    """The commands of the tool and the targets of the Makefile, as they are."""

    def __init__(self, rollcall: Path, root: Path) -> None:
        self.rollcall = rollcall
        self.targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))

    def fault(self, command: str) -> str | None:
        """What is wrong with a command: a word that is no command, a target or an option that does not exist."""
        program, *words = command.split()
        if program == "make":
            missing = [word for word in words if re.fullmatch(r"[a-z-]+", word) and word not in self.targets]
            return f"the Makefile has no target {missing[0]}" if missing else None
        path: tuple[str, ...] = ()
        while below := self._below(path):
            if not words or words[0].startswith("-"):
                return None
            if words[0] not in below:
                return f"`rollcall {' '.join(path)}` has no command {words[0]}"
            path += (words.pop(0),)
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            if not re.search(rf"{option}\b(?!-)", self._help(path)):
                return f"`rollcall {' '.join(path)}` has no option {option}"
        return None

    def _below(self, path: tuple[str, ...]) -> set[str]:
        section = re.search(r"^Commands:\n(.*?)\n\n", self._help(path), re.DOTALL | re.MULTILINE)
        return set(re.findall(r"^  ([a-z-]+)", section[1], re.MULTILINE)) if section else set()

    @cache
    def _help(self, path: tuple[str, ...]) -> str:
        done = subprocess.run([self.rollcall, *path, "--help"], capture_output=True, text=True, check=True)
        return done.stdout
