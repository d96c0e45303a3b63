"""The command `python -m rollcall_client`."""

from __future__ import annotations

import argparse
import json
import logging
import re
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from .client import Rollcall
from .errors import RollcallError
from .mirror import Mirror, connect_sqlite
from .mirror.storage import Storage


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m rollcall_client")
    commands = parser.add_subparsers(dest="command", required=True)
    mirror = commands.add_parser(
        "mirror",
        help="keep a mirror of all tenants in a database",
        description="Keeps a mirror. Reads ROLLCALL_APP_URL and ROLLCALL_APPLICATION_KEY, but not for --dump alone.",
    )
    database = mirror.add_mutually_exclusive_group(required=True)
    database.add_argument("--sqlite", metavar="FILE", help="a database file; it is made if it is absent")
    database.add_argument("--postgres", metavar="DSN", help="for example postgresql://user@host/name")
    mirror.add_argument("--once", action="store_true", help="catch up, and end")
    mirror.add_argument("--dump", action="store_true", help="print the mirror as JSON; without --once it does not catch up")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    # Ends as after Ctrl-C. Without a handler, the process 1 of a container ignores this signal.
    # Python raises KeyboardInterrupt only after the statement of the database that is running. In SQLite a statement
    # waits up to 30 seconds (SQLITE_WAIT_SECONDS) while another program writes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_mirror(arguments)
    except (RollcallError, ValueError) as error:
        sys.exit(str(error))
    except database_errors() as error:
        sys.exit(f"The database cannot be used: {str(error).strip()}")
    except KeyboardInterrupt:
        if arguments.dump:
            sys.exit("The command was stopped before it had printed the mirror.")
        if arguments.once:
            sys.exit("The mirror was stopped before it had caught up.")


def run_mirror(arguments: argparse.Namespace) -> None:
    """Catches up, follows or prints, as the arguments say."""
    if arguments.dump and not arguments.once:
        if arguments.sqlite and not Path(arguments.sqlite).exists():
            raise ValueError(f"There is no file {arguments.sqlite}. Let the mirror make it: --once --dump.")
        print_rows(Storage(connect(arguments)).dump())
        return
    with Rollcall.from_env() as rollcall:
        mirror = Mirror(rollcall, connect(arguments))
        if not arguments.once:
            return mirror.run()
        mirror.catch_up()
        if arguments.dump:
            print_rows(mirror.dump())


def print_rows(rows: dict[str, Any]) -> None:
    """Prints what a mirror shows, in the form of both clients."""
    print(json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def connect(arguments: argparse.Namespace) -> Any:
    """A connection to the database that the arguments name."""
    if arguments.sqlite:
        return connect_sqlite(arguments.sqlite)
    try:
        import psycopg
    except ImportError:
        raise ValueError("PostgreSQL needs psycopg: pip install 'rollcall-client[postgres]'.") from None
    if not is_dsn(arguments.postgres):
        raise ValueError(
            "The database cannot be used: the DSN is not a connection string. In a URL, encode special characters of a"
            " password, such as %40 for @. Or keep the password in PGPASSWORD."
        )
    return psycopg.connect(arguments.postgres)


def is_dsn(text: str) -> bool:
    """Whether the parts of a connection string are where they belong. Errors of psycopg quote the parts of others."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(text)
    except ProgrammingError:
        return False
    return "@" not in str(parts.get("host", "")) and re.fullmatch("[0-9,]*", str(parts.get("port", ""))) is not None


def database_errors() -> tuple[type[Exception], ...]:
    """The errors of the drivers that are installed."""
    try:
        import psycopg
    except ImportError:
        return (sqlite3.Error,)
    return (sqlite3.Error, psycopg.Error)


if __name__ == "__main__":
    main()
