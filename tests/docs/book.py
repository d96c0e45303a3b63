#!/usr/bin/env python3
"""Builds a site of the pages with mdBook, and checks its links (make docs).

    python3 tests/docs/book.py OUTPUT        with mdbook and mdbook-mermaid in the PATH

docs/README.md gives the chapters and their order. The pages stay where they are: mdBook gets a copy of them, with the
files that they link to.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from links import INDEX, README, ROOT, chapters, links, missing_in_index

CONFIGURATION = """
[book]
title = "Rollcall"
language = "en"

[build]
build-dir = "{output}"
create-missing = false

[output.html]
no-section-label = true
"""


def title(page: Path) -> str:
    """The first heading of a page."""
    heading = re.search(r"^# (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    return heading[1].replace("`", "") if heading else page.stem


def write_source(source: Path) -> int:
    """Writes what mdBook reads. Returns the number of pages."""
    lines = ["# Summary", "", f"[{title(README)}]({README})", f"[{title(INDEX)}]({INDEX})"]
    pages = [README, INDEX]
    for heading, below in chapters().items():
        lines += ["", f"# {heading}", "", *(f"- [{title(page)}]({page})" for page in below)]
        pages += below
    files = {place for page in pages for _, _, place, _ in links(page) if (ROOT / place).is_file()}
    for file in files | set(pages):
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, source / file)
    for page in pages:
        # mdBook calls a README.md index.html, but does not change the links to it.
        text = re.sub(r"(\]\([^)\s]*)README\.md", r"\1index.md", (source / page).read_text())
        (source / page).write_text(text)
    (source / "SUMMARY.md").write_text("\n".join(lines) + "\n")
    return len(pages)


class Html(HTMLParser):
    """The ids and the links of a page of the site."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, _: str, attributes: list[tuple[str, str | None]]) -> None:
        """Takes up an element."""
        for name, value in attributes:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def broken_links(site: Path) -> list[str]:
    """The relative links of the site that lead nowhere."""
    html = {file: Html(file) for file in site.rglob("*.html") if file.name not in ("print.html", "404.html", "toc.html")}
    broken = set()
    for file, page in html.items():
        for link in page.links:
            target = urlsplit(link)
            if target.scheme or target.netloc:
                continue
            place = (file.parent / unquote(target.path)).resolve() if target.path else file
            if not place.is_file():
                broken.add(f"{file.relative_to(site)}: {link}: there is no such file")
            elif target.fragment and place in html and unquote(target.fragment) not in html[place].ids:
                broken.add(f"{file.relative_to(site)}: {link}: the page has no such heading")
    return sorted(broken)


def main() -> int:
    """Builds the site. Returns 1 if a page is not in the index, or a link is broken."""
    output = Path(sys.argv[1]).resolve()
    work = output.with_name(f"{output.name}-source")
    shutil.rmtree(work, ignore_errors=True)
    count = write_source(work / "src")
    (work / "book.toml").write_text(CONFIGURATION.format(output=output))
    subprocess.run(["mdbook-mermaid", "install", work], check=True, capture_output=True)
    subprocess.run(["mdbook", "build", work], check=True)
    problems = [f"{INDEX} does not list {page}" for page in missing_in_index()] + broken_links(output)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{count} pages: {output}/index.html")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
