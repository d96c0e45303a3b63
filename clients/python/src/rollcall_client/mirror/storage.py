"""The tables of the mirror, over a DB-API connection of sqlite3 or psycopg."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..errors import RollcallError
from .core import (
    AddMembers,
    DefinitionRow,
    EndMemberships,
    EraseDefinition,
    EraseGroup,
    EraseTenant,
    EraseUser,
    GroupRow,
    HideUser,
    PutDefinition,
    PutGroup,
    PutTenant,
    PutUser,
    RemoveMembers,
    Resync,
    Step,
    UserRow,
)
from .schema import DROPS, KINDS, SCHEMA_VERSION, STAGING_TABLES, STATE, TABLES_AND_VIEWS, TABLES_AND_VIEWS_POSTGRES

SQLITE_WAIT_SECONDS = 30
SCHEMA_LOCK = 7_644_001
"""Two processes that start at once make the tables one after the other (PostgreSQL)."""

_INSERT = {
    "tenants": "(incarnation, tenant, root_team) VALUES (?, ?, ?)",
    "users": "(incarnation, id, user_name, user_name_key, external_id, display_name, email, active, hidden, version,"
    " resource) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
    "groups": "(incarnation, id, external_id, display_name, version, resource) VALUES (?, ?, ?, ?, ?, ?)",
    "members": "(incarnation, group_id, member_id) VALUES (?, ?, ?)",
    "assignments": "(incarnation, group_id, team, role) VALUES (?, ?, ?, ?)",
    "definitions": "(incarnation, kind, id, display_name, version, resource) VALUES (?, ?, ?, ?, ?, ?)",
    "grants": "(incarnation, role_id, team, role) VALUES (?, ?, ?, ?)",
    "user_roles": "(incarnation, user_id, role_id) VALUES (?, ?, ?)",
}


Row = UserRow | GroupRow | DefinitionRow | Sequence[str | None]
"""A row to insert."""


@dataclass(frozen=True)
class State:
    """How far the mirror is."""

    position: str
    """Empty before the first snapshot."""
    seq: int
    """The number of the last change."""
    schema_version: int = SCHEMA_VERSION

    @property
    def needs_snapshot(self) -> bool:
        """Whether the tables must be filled before changes can be applied to them."""
        return self.position == "" or self.schema_version < SCHEMA_VERSION


class PositionMoved(Exception):
    """Another process moved the position of this mirror. Read it again."""


class LaterTables(RollcallError):
    """A later version of this package has made the tables of the mirror."""


def connect_sqlite(path: str) -> sqlite3.Connection:
    """A connection to a file that the application may read while the mirror writes."""
    connection = sqlite3.connect(path, timeout=SQLITE_WAIT_SECONDS, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


class Storage:
    """Reads and writes the tables. The connection belongs to the mirror alone, since it begins transactions itself."""

    def __init__(self, connection: Any) -> None:
        """Makes the tables if they are absent."""
        self._connection = connection
        self._is_sqlite = isinstance(connection, sqlite3.Connection)
        # The schema of temporary tables. A mirror of the client for TypeScript has permanent ones of the same names.
        self._staging = f"{'temp' if self._is_sqlite else 'pg_temp'}.rollcall_staging_"
        if self._is_sqlite:
            connection.isolation_level = None
        else:
            connection.autocommit = True
        self._make_tables()

    def _make_tables(self) -> None:
        """Makes the tables in a new database. Those of an earlier version stay until a snapshot replaces them."""
        with self.transaction():
            if not self._is_sqlite:
                self._run(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
            self._run(STATE)
            new = "INSERT INTO rollcall_mirror_state (id, schema_version, position, seq, staging) VALUES (1, 0, '', 0, '')"
            self._run(f"{new} ON CONFLICT DO NOTHING")
            if self.state().schema_version == 0:
                # The version 2 had its number in a table of its own.
                self._run("CREATE TABLE IF NOT EXISTS rollcall_schema (version INTEGER PRIMARY KEY)")
                if not self._rows("SELECT version FROM rollcall_schema"):
                    self._make_tables_anew()
                    self._run("UPDATE rollcall_mirror_state SET schema_version = ?", (SCHEMA_VERSION,))

    def _make_tables_anew(self) -> None:
        for statement in (*DROPS, *(TABLES_AND_VIEWS if self._is_sqlite else TABLES_AND_VIEWS_POSTGRES)):
            self._run(statement)

    def _remove_old_staging(self) -> None:
        """Removes permanent staging tables of an earlier version, unless another mirror uses such tables now."""
        if self._rows("SELECT id FROM rollcall_mirror_state WHERE staging = ''"):
            schema = "main" if self._is_sqlite else self._rows("SELECT quote_ident(current_schema())")[0][0]
            for kind in KINDS:
                self._run(f"DROP TABLE IF EXISTS {schema}.rollcall_staging_{kind}")

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[None]:
        """Commits at the end, rolls back after an exception, also after one of the commit.

        Without `writes` all statements read the same state. Temporary tables can be written then too.
        """
        if self._is_sqlite:
            self._run("BEGIN IMMEDIATE" if writes else "BEGIN")
        else:
            self._run("BEGIN" if writes else "BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            # After some failures, such as a full disk or a lost connection, the database has rolled back itself.
            with suppress(Exception):
                self._run("ROLLBACK")
            raise

    def state(self) -> State:
        """How far the mirror is. Raises LaterTables if this version cannot write the tables."""
        state = State(*self._rows("SELECT position, seq, schema_version FROM rollcall_mirror_state")[0])
        if state.schema_version > SCHEMA_VERSION:
            raise LaterTables(
                f"The tables of the mirror have the version {state.schema_version}, and this package writes the version"
                f" {SCHEMA_VERSION}. Install the later version of rollcall-client that made them."
            )
        return state

    def move_position(self, before: State, after: str, seq: int) -> None:
        """Moves the position, as a part of a transaction. Raises PositionMoved if the state is not `before`."""
        moved = self._run(
            "UPDATE rollcall_mirror_state SET position = ?, seq = ?, schema_version = ?"
            " WHERE position = ? AND schema_version = ?",
            (after, seq, SCHEMA_VERSION, before.position, before.schema_version),
        )
        if moved == 0:
            raise PositionMoved

    # Staging tables. They are temporary, so they are private to the connection and end with it.

    def begin_staging(self) -> None:
        """Makes empty staging tables."""
        self.end_staging()
        for statement in STAGING_TABLES:
            self._run(statement)

    def end_staging(self) -> None:
        """Removes the staging tables."""
        for kind in KINDS:
            self._run(f"DROP TABLE IF EXISTS {self._staging}{kind}")

    def stage(self, kind: str, rows: Iterable[Row]) -> None:
        """Adds rows to the staging tables. A group brings its assignments, a role its grants, a user its roles."""
        rows = list(rows)
        with self.transaction(writes=False):
            self._insert(f"{self._staging}{kind}", kind, [_values(row) for row in rows])
            for part in ("assignments", "grants", "user_roles"):
                values = [values for row in rows for own, values in _parts(row) if own == part]
                self._insert(f"{self._staging}{part}", part, values)

    def unstage(self, incarnation: str) -> None:
        """Removes a tenant from the staging tables."""
        for kind in KINDS:
            self._run(f"DELETE FROM {self._staging}{kind} WHERE incarnation = ?", (incarnation,))

    def swap_all(self, before: State) -> None:
        """Replaces all rows by those of the staging tables, as a part of a transaction.

        Makes the tables anew if those of the state `before` have an earlier version.
        """
        if before.schema_version < SCHEMA_VERSION:
            self._make_tables_anew()
            self._remove_old_staging()
        self._run("DELETE FROM rollcall_resyncs")
        for kind in KINDS:
            self._run(f"DELETE FROM rollcall_{kind}")
            self._run(f"INSERT INTO rollcall_{kind} SELECT * FROM {self._staging}{kind} WHERE 1 = 1 ON CONFLICT DO NOTHING")

    def swap_tenant(self, incarnation: str) -> None:
        """Replaces the rows of one tenant by those of the staging tables, as a part of a transaction.

        Hidden accounts stay, since no snapshot has them.
        """
        come_back = f"SELECT id FROM {self._staging}users WHERE incarnation = ?"
        unhide = f"DELETE FROM rollcall_users WHERE incarnation = ? AND id IN ({come_back})"
        self._run(unhide, (incarnation, incarnation))
        for kind in KINDS:
            kept = " AND hidden = 0" if kind == "users" else ""
            self._run(f"DELETE FROM rollcall_{kind} WHERE incarnation = ?{kept}", (incarnation,))
            staged = f"SELECT * FROM {self._staging}{kind} WHERE incarnation = ?"
            self._run(f"INSERT INTO rollcall_{kind} {staged} ON CONFLICT DO NOTHING", (incarnation,))

    def note_resync(self, incarnation: str, tenant: str, seq: int) -> None:
        """Notes that a tenant must be read once more, as a part of a transaction."""
        self.forget_resync(incarnation)
        values = (incarnation, tenant, seq)
        self._run("INSERT INTO rollcall_resyncs (incarnation, tenant, seq, taken) VALUES (?, ?, ?, 1)", values)

    def forget_resync(self, incarnation: str) -> None:
        """Removes that note, as a part of a transaction."""
        self._delete("resyncs", incarnation)

    def resyncs(self) -> list[Any]:
        """Incarnation, name and number of each note."""
        return self._rows("SELECT incarnation, tenant, seq FROM rollcall_resyncs")

    # Changes

    def apply(self, step: Step) -> None:
        """Does one step, as a part of a transaction. Doing it again changes nothing."""
        match step:
            case PutTenant(incarnation, tenant, seq, root_team=root_team, is_seen=is_seen):
                if is_seen:
                    self._delete("tenants", incarnation)
                else:
                    self.note_resync(incarnation, tenant, seq)
                self._insert("rollcall_tenants", "tenants", [(incarnation, tenant, root_team)])
            case EraseTenant(incarnation):
                for kind in (*KINDS, "resyncs"):
                    self._delete(kind, incarnation)
            case PutUser(row):
                self._erase_user(row.incarnation, row.id)
                self._put("users", row)
            case HideUser(incarnation, id):
                hide = "UPDATE rollcall_users SET active = 0, hidden = 1 WHERE incarnation = ? AND id = ?"
                self._run(hide, (incarnation, id))
            case EraseUser(incarnation, id):
                self._erase_user(incarnation, id)
            case PutGroup(row):
                self._erase_group(row.incarnation, row.id)
                self._put("groups", row)
            case PutDefinition(row):
                self._delete("definitions", row.incarnation, kind=row.kind, id=row.id)
                if row.kind == "Role":
                    self._delete("grants", row.incarnation, role_id=row.id.lower())
                self._put("definitions", row)
            case EraseDefinition(incarnation, kind, id):
                self._erase_definition(incarnation, kind, id)
            case EraseGroup(incarnation, id):
                self._erase_group(incarnation, id)
            case AddMembers(incarnation, group, members):
                rows = [(incarnation, group, member) for member in members]
                self._insert("rollcall_members", "members", rows)
            case RemoveMembers(incarnation, group, members):
                for member in members:
                    self._delete("members", incarnation, group_id=group, member_id=member)
            case EndMemberships(incarnation, group):
                self._delete("members", incarnation, group_id=group)
            case Resync():
                raise AssertionError("the mirror takes snapshots itself")

    def _put(self, kind: str, row: Row) -> None:
        self._insert(f"rollcall_{kind}", kind, [_values(row)])
        for part, values in _parts(row):
            self._insert(f"rollcall_{part}", part, [values])

    def _erase_user(self, incarnation: str, id: str) -> None:
        self._delete("users", incarnation, id=id)
        self._delete("user_roles", incarnation, user_id=id)

    def _erase_definition(self, incarnation: str, kind: str, id: str) -> None:
        self._delete("definitions", incarnation, kind=kind, id=id)
        if kind == "Role":
            # After Billing was deleted, billing may have been made. The deletion may be told of last.
            others = "SELECT 1 FROM rollcall_definitions WHERE incarnation = ? AND kind = 'Role' AND lower(id) = ?"
            erase = f"DELETE FROM rollcall_grants WHERE incarnation = ? AND role_id = ? AND NOT EXISTS ({others})"
            self._run(erase, (incarnation, id.lower()) * 2)

    def _erase_group(self, incarnation: str, id: str) -> None:
        self._delete("groups", incarnation, id=id)
        self._delete("assignments", incarnation, group_id=id)

    # What the mirror shows

    def dump(self) -> dict[str, Any]:
        """What the views show of each tenant, as values that can be compared."""
        with self.transaction(writes=False):
            if self.state().schema_version < SCHEMA_VERSION:
                raise RollcallError("The tables are those of an earlier version. Let the mirror catch up once.")
            return self._read_all()

    def _read_all(self) -> dict[str, Any]:
        tenants: dict[str, Any] = {}
        names = self._rows("SELECT incarnation, tenant FROM rollcall_tenants")
        for incarnation, _ in names:
            empty: dict[str, Any] = {"users": {}, "groups": {}, "members": {}, "roles": {}, "defined": {}}
            tenants[incarnation] = {"incarnation": incarnation, **empty}
        for incarnation, id, name, active, version in self._current("users", "id, user_name, active, version"):
            tenants[incarnation]["users"][id] = {"userName": name, "active": active == 1, "version": version}
        for incarnation, id, name, version in self._current("groups", "id, display_name, version"):
            tenants[incarnation]["groups"][id] = {"displayName": name, "version": version}
            tenants[incarnation]["members"][id] = []
        for incarnation, group, user in sorted(self._current("members", "group_id, user_id")):
            tenants[incarnation]["members"][group].append(user)
        for incarnation, user, team, role in sorted(self._current("roles", "user_id, team, role")):
            tenants[incarnation]["roles"].setdefault(user, []).append([team, role])
        for incarnation, kind, id, name, version in self._current("definitions", "kind, id, display_name, version"):
            tenants[incarnation]["defined"][f"{kind} {id}"] = {"displayName": name, "version": version}
        return {"tenants": {name: tenants[incarnation] for incarnation, name in names}}

    def _current(self, kind: str, columns: str) -> list[Any]:
        return self._rows(f"SELECT incarnation, {columns} FROM rollcall_current_{kind}")

    # SQL

    def _cursor(self) -> Any:
        """A cursor whose rows are tuples, whatever the connection makes of its rows."""
        if self._is_sqlite:
            cursor = self._connection.cursor()
            cursor.row_factory = None
            return cursor
        from psycopg import Cursor
        from psycopg.rows import tuple_row

        return Cursor(self._connection, row_factory=tuple_row)

    def _run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Runs a statement. Returns how many rows it changed."""
        cursor = self._cursor()
        try:
            cursor.execute(self._sql(sql), tuple(values))
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def _rows(self, sql: str) -> list[Any]:
        cursor = self._cursor()
        try:
            cursor.execute(self._sql(sql))
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def _insert(self, table: str, kind: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            cursor = self._cursor()
            try:
                cursor.executemany(self._sql(f"INSERT INTO {table} {_INSERT[kind]} ON CONFLICT DO NOTHING"), rows)
            finally:
                cursor.close()

    def _delete(self, table: str, incarnation: str, /, **where: str) -> None:
        condition = "".join(f" AND {column} = ?" for column in where)
        self._run(f"DELETE FROM rollcall_{table} WHERE incarnation = ?{condition}", (incarnation, *where.values()))

    def _sql(self, sql: str) -> str:
        """The statement with the placeholders of the driver."""
        return sql if self._is_sqlite else sql.replace("?", "%s")


def _values(row: Row) -> Sequence[Any]:
    match row:
        case UserRow():
            active = int(row.active)
            names = (row.user_name, row.user_name_key, row.external_id, row.display_name, row.email)
            return (row.incarnation, row.id, *names, active, row.version, row.resource)
        case GroupRow():
            return (row.incarnation, row.id, row.external_id, row.display_name, row.version, row.resource)
        case DefinitionRow():
            return (row.incarnation, row.kind, row.id, row.display_name, row.version, row.resource)
        case _:
            return row


def _parts(row: Row) -> Iterator[tuple[str, Sequence[str]]]:
    """The rows of other tables that belong to a row, with the kinds of these tables."""
    match row:
        case UserRow():
            yield from (("user_roles", (row.incarnation, row.id, role)) for role in row.roles)
        case GroupRow():
            yield from (("assignments", (row.incarnation, row.id, team, role)) for team, role in row.assignments)
        case DefinitionRow(kind="Role"):
            yield from (("grants", (row.incarnation, row.id.lower(), team, role)) for team, role in row.grants)
