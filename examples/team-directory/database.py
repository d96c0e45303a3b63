"""The product's database: SQLite, or PostgreSQL if DATABASE_URL says so. The mirror keeps its tables in step."""

import os
import sqlite3
from contextlib import closing
from typing import Any

from rollcall_client.mirror import connect_sqlite, user_name_key

MEMBERS = """
SELECT u.id, u.display_name, u.user_name, u.active, r.role, g.display_name AS team_name FROM rollcall_current_users u
LEFT JOIN rollcall_current_roles r ON r.incarnation = u.incarnation AND r.user_id = u.id
LEFT JOIN rollcall_current_groups g ON g.incarnation = r.incarnation AND g.id = r.team
WHERE u.incarnation = ? ORDER BY u.display_name, u.id, g.display_name, r.role
"""
ADMINISTRATOR = """
SELECT r.role FROM rollcall_tenants t
JOIN rollcall_current_roles r ON r.incarnation = t.incarnation AND r.team = t.root_team AND r.role = 'admin'
WHERE r.incarnation = ? AND r.user_id = ?
"""
USER_BY_NAME = """
SELECT id, incarnation, active FROM rollcall_current_users
WHERE tenant = ? AND user_name_key = ? ORDER BY active DESC
"""
USER_BY_ID = """
SELECT id, tenant, incarnation, display_name, user_name, active FROM rollcall_current_users
WHERE incarnation = ? AND id = ?
"""


def connect() -> Any:
    """A new connection."""
    url = os.environ.get("DATABASE_URL", "")
    if url.startswith("postgres"):
        import psycopg

        return psycopg.connect(url)
    return connect_sqlite(os.environ.get("DATABASE_FILE", "team-directory.db"))


def query(sql: str, *values: str) -> list[dict[str, Any]]:
    """The rows of a query, as dictionaries."""
    with closing(connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(sql if isinstance(connection, sqlite3.Connection) else sql.replace("?", "%s"), values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def members(incarnation: str) -> list[dict[str, Any]]:
    """The people of a tenant, each with the roles that it has now.

    One query reads all, since the mirror may write between two.
    """
    people: dict[str, dict[str, Any]] = {}
    for row in query(MEMBERS, incarnation):
        person = people.setdefault(row["id"], {**row, "roles": []})
        if row["team_name"] is not None:
            person["roles"].append(row)
    return list(people.values())


def user_by_name(tenant: str, name: str) -> dict[str, Any] | None:
    """The person who logs in with this name. No account has U+0000, and PostgreSQL refuses it in a query."""
    if "\0" in tenant + name:
        return None
    return next(iter(query(USER_BY_NAME, tenant, user_name_key(name))), None)


def user_by_id(incarnation: str, id: str) -> dict[str, Any] | None:
    """The person of a session."""
    return next(iter(query(USER_BY_ID, incarnation, id)), None)


def is_administrator(incarnation: str, id: str) -> bool:
    """Whether a person administers the tenant: has the role admin in its root team."""
    return bool(query(ADMINISTRATOR, incarnation, id))
