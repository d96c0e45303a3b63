"""Ends with the line that .ci/run counts."""

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    count = {name: len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed", "error")}
    print(f"example: {count['passed']} passed, {count['failed'] + count['error']} failed")
