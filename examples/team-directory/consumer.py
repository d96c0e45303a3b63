"""Follows Rollcall."""

import logging
import os
from threading import Thread

from database import connect
from rollcall_client import Rollcall
from rollcall_client.mirror import Mirror


def start() -> Mirror:
    """Brings the tables up to date, and keeps them so in a thread."""
    mirror = Mirror(Rollcall.from_env(), connect())
    mirror.catch_up()
    Thread(target=follow, args=(mirror,), daemon=True).start()
    return mirror


def follow(mirror: Mirror) -> None:
    """Ends the process if the mirror stops: with old tables, people who left could log in.

    It does not stop while Rollcall cannot be reached. For this time app.py looks at the age of the tables.
    """
    try:
        mirror.run()
    except Exception as error:
        logging.critical("The mirror stopped: %s", error)
        os._exit(1)
