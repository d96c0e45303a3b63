"""The command `python -m rollcall_client`."""

from __future__ import annotations

import argparse
import json
import logging
import sqlite3
import sys
from collections.abc import Callable
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
        description="Keeps a mirror. Reads ROLLCALL_APP_URL and ROLLCALL_APPLICATION_KEY.",
    )
    database = mirror.add_mutually_exclusive_group(required=True)
    database.add_argument("--sqlite", metavar="FILE", help="a database file; it is made if it is absent")
    database.add_argument("--postgres", metavar="DSN", help="for example postgresql://user@host/name")
    mirror.add_argument("--once", action="store_true", help="catch up, and end")
    mirror.add_argument("--dump", action="store_true", help="print the mirror as JSON; without --once it does not catch up")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        run_mirror(arguments)
    except (RollcallError, ValueError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def run_mirror(arguments: argparse.Namespace) -> None:
    """Catches up, follows or prints, as the arguments say."""
    connect, database_error = driver(arguments)
    try:
        if arguments.dump and not arguments.once:
            print_mirror(arguments, Storage(connect()))
            return
        with Rollcall.from_env() as rollcall:
            connection = connect()
            mirror = Mirror(rollcall, connection)
            if not arguments.once:
                mirror.run()
            mirror.catch_up()
            if arguments.dump:
                print_mirror(arguments, Storage(connection))
    except database_error as error:
        option = "--sqlite" if arguments.sqlite else "--postgres"
        raise ValueError(f"The database of {option} cannot be used: {str(error).strip()}") from error
