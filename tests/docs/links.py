"""Checks the relative links of the pages, and that docs/README.md lists every page."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
README, INDEX = Path("README.md"), Path("docs/README.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)


def all_pages() -> list[Path]:
    """The pages of the project by their places from its root, README.md first."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = [Path(name) for name in names if (ROOT / name).exists()]
    return sorted(found, key=lambda page: (page != README, page))


def links(page: Path) -> list[tuple[int, str, Path, str]]:
    """The relative links of a page: line, text, the place that it leads to from the root, the heading in it."""
    text = FENCED.sub(lambda block: "\n" * block[0].count("\n"), (ROOT / page).read_text())
    found = []
    for link in LINK.finditer(text):
        target = urlsplit(link[1])
        if not target.scheme:
            place = (ROOT / page.parent / unquote(target.path)).resolve() if target.path else ROOT / page
            if place.is_relative_to(ROOT):
                found.append((text.count("\n", 0, link.start()) + 1, link[1], place.relative_to(ROOT), target.fragment))
    return found


@cache
def headings(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and mdBook make them."""
    text = FENCED.sub("", (ROOT / page).read_text())
    titles = re.findall(r"^ {0,3}#+ +(.+?) *#*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[tuple[int, str, str]]:
    """The links of a page that lead nowhere: line, text, reason."""
    broken = []
    for line, text, place, heading in links(page):
        if not (ROOT / place).is_file():
            broken.append((line, text, "there is no such file"))
        elif heading and place.suffix == ".md" and heading not in headings(place):
            broken.append((line, text, f"{place} has no such heading"))
    return broken


def chapters() -> dict[str, list[Path]]:
    """The pages that docs/README.md lists, each once, by the heading above it."""
    listed = {README, INDEX}
    found: dict[str, list[Path]] = {}
    for section in (ROOT / INDEX).read_text().split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        found[heading] = []
        for link in LINK.findall(text):
            place = (ROOT / INDEX.parent / link).resolve()
            if place.suffix == ".md" and place.is_file() and (page := place.relative_to(ROOT)) not in listed:
                listed.add(page)
                found[heading].append(page)
    return found


def missing_in_index() -> list[Path]:
    """The pages that docs/README.md does not list."""
    listed = {page for pages in chapters().values() for page in pages}
    return [page for page in all_pages() if page not in listed | {README, INDEX}]
