"""The command `python -m rollcall_client`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from typing import Any

from .client import Rollcall
from .errors import RollcallError
from .mirror import Mirror, connect_sqlite


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
    with Rollcall.from_env() as rollcall:
        mirror = Mirror(rollcall, connect(arguments))
        if arguments.once:
            mirror.catch_up()
        if arguments.dump:
            print(json.dumps(mirror.dump(), sort_keys=True, separators=(",", ":"), ensure_ascii=False))
        elif not arguments.once:
            mirror.run()


def connect(arguments: argparse.Namespace) -> Any:
    """A connection to the database that the arguments name."""
    if arguments.sqlite:
        return connect_sqlite(arguments.sqlite)
    try:
        import psycopg
    except ImportError:
        raise ValueError("PostgreSQL needs psycopg: pip install 'rollcall-client[postgres]'.") from None
    return psycopg.connect(arguments.postgres)


if __name__ == "__main__":
    main()
