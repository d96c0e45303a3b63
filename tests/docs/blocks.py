"""Reads the code blocks of a Markdown page.

A block of commands has the language `console`. A line that begins with `$ ` begins a command. The command ends where
it is a whole command of the shell. The lines after it, up to the next command, are the output that the page shows.

Comments before a block, which a reader of the page does not see, say what the script must know:

    <!-- docs-test: not run: REASON -->          the block cannot run here
    <!-- docs-test: section not run: REASON -->  no block can, up to the next heading
    <!-- docs-test: before: COMMAND -->          COMMAND prepares what the page takes as given
    <!-- docs-test: type: TEXT -->               TEXT is what one types when a command of the block asks
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*(\w*)\s*$")
COMMENT = re.compile(r"^\s*<!-- docs-test: (section not run|not run|before|type): (.*?) -->\s*$")
HEADING = re.compile(r"^#+ ")
# The languages of blocks that hold no commands.
OTHERS = {"http", "json", "logs", "mermaid", "python", "sql", "text", "typescript", "yaml"}
# A command in a block without a fence would escape the script.
UNFENCED = re.compile(r"^ {4,}(\$ |(rollcall|make|cargo|curl|aws|docker|python3?|npm|pip) [a-z-])")


@dataclass
class Command:
    """One command of a page, with the output that the page shows (empty: none is shown)."""

    line: int
    text: str
    output: str = ""


@dataclass
class Block:
    """One fenced block."""

    line: int
    language: str
    text: str
    not_run: str | None = None
    before: list[str] = field(default_factory=list)
    typed: str = ""

    def commands(self) -> list[Command]:
        """The commands of a `console` block. Raises ValueError if the block does not begin with a command."""
        found: list[Command] = []
        complete = True
        for number, line in enumerate(self.text.splitlines(), self.line + 1):
            if complete and line.startswith("$ "):
                found.append(Command(number, line[2:]))
            elif not found:
                raise ValueError("a block of commands begins with `$ `")
            elif complete:
                found[-1].output += line + "\n"
                continue
            else:
                found[-1].text += "\n" + line
            complete = is_complete(found[-1].text)
        if not complete:
            raise ValueError("the last command is not complete")
        return found

    def fault(self) -> str | None:
        """What is wrong with a block that holds no commands."""
        try:
            if self.language == "python":
                ast.parse(self.text)
            if self.language == "json" and "…" not in re.sub(r'"[^"]*"', "", self.text):
                for value in re.split(r"\n(?=\{)", self.text):
                    json.loads(value)
        except (SyntaxError, ValueError) as error:
            return f"this is not {self.language}: {error}"
        if self.language not in OTHERS:
            known = ", ".join(sorted(OTHERS))
            return f"the language {self.language!r} is not known: use console for commands, or one of {known}"
        return None


def is_complete(command: str) -> bool:
    """Whether the shell would run these lines, and not wait for more."""
    if re.search(r"(^|[^\\])(\\\\)*\\$", command):
        return False
    return subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True).returncode == 0


def read_blocks(page: Path) -> tuple[list[Block], list[tuple[int, str]]]:
    """The blocks of a page, and the lines that are wrong."""
    blocks: list[Block] = []
    wrong: list[tuple[int, str]] = []
    comments: list[tuple[str, str]] = []
    section: list[tuple[str, str]] = []
    fence: re.Match[str] | None = None
    body: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if fence:
            if line.strip() == fence[2]:
                blocks.append(make_block(number - len(body) - 1, fence[3], body, section + comments))
                fence, comments = None, []
            else:
                body.append(line.removeprefix(fence[1]) + "\n")
        elif match := FENCE.match(line):
            fence, body = match, []
        elif (match := COMMENT.match(line)) and match[1] == "section not run":
            section = [("not run", match[2])]
        elif match:
            comments.append((match[1], match[2]))
        elif "docs-test:" in line and "`" not in line:
            wrong.append((number, "this comment is not known: see tests/docs/blocks.py"))
        elif line.strip() and comments:
            wrong.append((number, "a comment of docs-test stands right before its block"))
            comments = []
        elif HEADING.match(line):
            section = []
        elif UNFENCED.match(line):
            wrong.append((number, "a command stands in a block that begins with ```console"))
    if fence:
        wrong.append((number, "a block has no end"))
    return blocks, wrong


def make_block(line: int, language: str, body: list[str], comments: list[tuple[str, str]]) -> Block:
    """A block with what the comments before it say."""
    block = Block(line, language, "".join(body))
    for name, value in comments:
        if name == "before":
            block.before.append(value)
        elif name == "type":
            block.typed = value
        else:
            block.not_run = value
    return block
