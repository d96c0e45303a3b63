"""The statements that make the tables. `schema.sql` describes them."""

from __future__ import annotations

import re
from importlib import resources

SCHEMA_VERSION = 4
"""Counts the changes of the tables and views. Tables of an earlier version are made anew by a snapshot."""

KINDS = ("tenants", "users", "groups", "members", "assignments", "definitions", "grants", "user_roles")
"""The tables that a snapshot replaces."""

_TEXT = resources.files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
_STATEMENTS = [one.strip() for one in re.sub("--.*", "", _TEXT).split(";") if one.strip()]

STATE, TABLES_AND_VIEWS = _STATEMENTS[0], _STATEMENTS[1:]
"""The statement that makes the table of the mirror's state, and those that make all others."""

TABLES_AND_VIEWS_POSTGRES = [re.sub(r"^(CREATE INDEX .* )(\(\w+\))$", r"\1USING hash \2", one) for one in TABLES_AND_VIEWS]
"""The same for PostgreSQL: its usual index refuses a text of more than 2,700 bytes, and a hash index takes any.

Only user names and external ids can be so long. Each index of one column is of them.
"""

STAGING_TABLES = [
    one.replace(f"CREATE TABLE rollcall_{kind} ", f"CREATE TEMPORARY TABLE rollcall_staging_{kind} ")
    for kind in KINDS
    for one in _STATEMENTS
    if one.startswith(f"CREATE TABLE rollcall_{kind} ")
]

_NAMES = [one.split()[1:3] for one in TABLES_AND_VIEWS if not one.startswith("CREATE INDEX")]
_OLD_VIEWS = [["VIEW", f"rollcall_{name}"] for name in ("memberships", "roles")]
_OLD_TABLES = [["TABLE", f"rollcall_{name}"] for name in ("mirror", "position", "schema")]

DROPS = [f"DROP {kind} IF EXISTS {name}" for kind, name in _OLD_VIEWS + _NAMES[::-1] + _OLD_TABLES]
"""Removes all tables and views but the state, also those of earlier versions of both clients.

A view is removed before what it reads.
"""
