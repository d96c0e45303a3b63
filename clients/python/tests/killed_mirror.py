"""A mirror that kills its own process (SIGKILL) before the statement whose number is the last argument."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from mirror_support import Database

from rollcall_client import Rollcall
from rollcall_client.mirror import Mirror
from rollcall_client.mirror.storage import Storage


def main() -> None:
    """Catches up, or dies before that."""
    database = Database(sys.argv[1:3], is_sqlite=sys.argv[1] == "--sqlite")
    left = int(sys.argv[3])
    run = Storage._run

    def counted(storage: Storage, sql: str, values: Sequence[Any] = ()) -> int:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(storage, sql, values)

    Storage._run = counted  # type: ignore[method-assign]
    with Rollcall.from_env() as client:
        Mirror(client, database.connect()).catch_up()


if __name__ == "__main__":
    main()
