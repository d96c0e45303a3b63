"""Keeps the application's tables in step with Rollcall."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from .. import types
from ..client import PAUSE_AT_END_SECONDS, Rollcall
from ..errors import (
    ConnectionLost,
    LostPosition,
    NotFound,
    ProblemError,
    RollcallError,
    ServerError,
    TooManyRequests,
    UnexpectedAnswer,
)
from ..transport import Stopped, stopped_by
from .core import PutTenant, Resync, Step, definition_row, group_row, steps_of, user_row
from .storage import PositionMoved, State, Storage

ROWS_PER_BATCH = 1000
PAUSE_AFTER_FAILURE_SECONDS = 5.0
RESYNC_LOOK_SECONDS = 10.0
LOST_POSITIONS_IN_A_ROW = 3
"""A table may be restored while the snapshot is read. More often than this, something else is wrong."""
SNAPSHOT_ATTEMPTS = 5
"""A tenant is deleted and made again, or a cursor ends, while the snapshot reads it."""


class TenantKeepsChanging(RollcallError):
    """A tenant changed so often while a snapshot read it that the snapshot was given up. A later one can succeed."""


_PASSING = (ConnectionLost, ServerError, TooManyRequests, UnexpectedAnswer, TenantKeepsChanging)
"""Failures after which the mirror goes on."""

_log = logging.getLogger("rollcall_client.mirror")
_Row = TypeVar("_Row")


class Mirror:
    """A mirror of all tenants in the tables of `schema.sql`.

    It may be stopped at any moment. The position moves in the transaction that changes the tables, so a mirror that
    starts again goes on where the tables are. Several mirrors on one database do no harm: one of them moves on.
    """

    def __init__(self, rollcall: Rollcall, connection: Any) -> None:
        """`connection` is one of sqlite3 or psycopg, which nothing else uses. Makes the tables if they are absent.

        Tables of an earlier version are replaced by the first snapshot. Raises LaterTables for those of a later one.
        """
        self._rollcall = rollcall
        self._storage = Storage(connection)
        self._positions_lost = 0
        self._next_look = 0.0
        self._current_at = (-math.inf, -math.inf)

    @property
    def age_seconds(self) -> float:
        """For how many seconds the tables may have missed changes: since this mirror last read the feed to its end.

        Infinite before that. While Rollcall cannot be reached it grows, and people who have left are still in the tables.
        The monotonic clock stands still while the machine sleeps, and the other one may be set back. So the greater age
        counts.
        """
        monotonic, clock = self._current_at
        return max(time.monotonic() - monotonic, time.time() - clock)

    def run(self, stop: threading.Event | None = None) -> None:
        """Follows the feed until `stop` is set. Goes on after failures that pass, as late as `Retry-After` says.

        `stop` ends pauses and repetitions, and a snapshot before its next request. A request that is sent already ends
        first.
        """
        stop = stop or threading.Event()
        with stopped_by(stop), suppress(Stopped):
            while not stop.is_set():
                self._step_and_pause(stop)

    def _step_and_pause(self, stop: threading.Event) -> None:
        pause = PAUSE_AT_END_SECONDS
        try:
            if self.step():
                return
        except _PASSING as error:
            pause = max(PAUSE_AFTER_FAILURE_SECONDS, getattr(error, "retry_after", None) or 0.0)
            _log.warning("The mirror tries again in %g seconds: %s", pause, error)
        stop.wait(pause)

    def catch_up(self) -> None:
        """Takes a snapshot if needed, and applies all changes that are in the feed."""
        while self.step():
            pass

    def step(self) -> bool:
        """Takes a snapshot or applies one answer of the feed. Returns whether there is more to do at once."""
        state = self._storage.state()
        try:
            if state.needs_snapshot:
                self._take_snapshot(state)
                return True
            return self._follow_feed(state)
        except PositionMoved:
            # Another mirror was faster, with changes or with a snapshot. The next step goes on from there.
            return True

    def dump(self) -> dict[str, Any]:
        """What the views show, as values that can be compared."""
        return self._storage.dump()

    # The feed

    def _follow_feed(self, state: State) -> bool:
        """Applies one answer of the feed; takes a snapshot if the position is lost. Returns what `step` returns."""
        asked_at = (time.monotonic(), time.time())
        try:
            more = self._apply_page(state)
            if not more:
                self._current_at = asked_at
                self._repeat_resyncs(self._storage.state())
            return more
        except LostPosition:
            if self._positions_lost == LOST_POSITIONS_IN_A_ROW:
                raise
            _log.warning("The position is lost. The mirror takes a snapshot.")
            self._take_snapshot(state)
            # Counted only now: a snapshot that a lost connection ends says nothing of its position.
            self._positions_lost += 1
            return True

    def _apply_page(self, state: State) -> bool:
        page = self._rollcall.changes_page(state.position)
        self._positions_lost = 0
        if page["next"] == state.position:
            return page["more"]
        steps, resyncs = _read_steps(page["changes"], after=state.seq)
        steps = self._with_root_teams(steps)
        repeated = self._stage_again(resyncs, self._rollcall.status()["snapshot"]) if resyncs else []
        last = max([state.seq, *(change["seq"] for change in page["changes"])])
        with self._storage.transaction():
            self._storage.move_position(state, page["next"], last)
            for step in steps:
                self._storage.apply(step)
            for resync in resyncs:
                self._storage.swap_tenant(resync.incarnation)
                self._storage.note_resync(resync.incarnation, resync.tenant, last)
            for step in repeated:
                self._storage.apply(step)
        if resyncs:
            self._storage.end_staging()
        return page["more"]

    def _with_root_teams(self, steps: list[Step]) -> list[Step]:
        """The steps with the root teams of tenants, which changes do not have.

        A tenant that a read does not show may be deleted, or not be visible yet. The step is not `is_seen` then.
        """
        tenants = {step.incarnation: step.tenant for step in steps if isinstance(step, PutTenant)}
        read = {incarnation: self._tenant(name, incarnation) for incarnation, name in tenants.items()}

        def complete(step: Step) -> Step:
            if not isinstance(step, PutTenant):
                return step
            found = read[step.incarnation]
            if found is None or found["version"] < step.version:
                return step
            return replace(step, root_team=found["rootTeam"], is_seen=True)

        return [complete(step) for step in steps]

    def _repeat_resyncs(self, state: State) -> None:
        """Reads tenants again whose tenant.resync lies before the position of a snapshot of now.

        What was written just before a tenant.resync may not be visible to the snapshot that follows it at once, and no
        change tells of it. A snapshot whose position lies after the tenant.resync has certainly seen it. Tenants whose
        root team a read did not show are noted in the same way.
        """
        noted = self._storage.resyncs()
        if not noted or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + RESYNC_LOOK_SECONDS
        start = self._rollcall.status()["snapshot"]
        following = self._rollcall.changes_page(start, limit=1, include_resource=False)["changes"]
        due = [Resync(*tenant) for *tenant, at in noted if not following or following[0]["seq"] > at]
        if due:
            repeated = self._stage_again(due, start)
            with self._storage.transaction():
                self._storage.move_position(state, state.position, state.seq)
                for resync in due:
                    self._storage.swap_tenant(resync.incarnation)
                    self._storage.forget_resync(resync.incarnation)
                for step in repeated:
                    self._storage.apply(step)
            self._storage.end_staging()

    def _stage_again(self, resyncs: list[Resync], start: str) -> list[Step]:
        """Reads the snapshots of some tenants. Returns the steps that belong on top of them.

        The feed is at another position than `start`, that of the snapshot, and it stays there. So the changes of these
        tenants since `start` are applied again, up to the end of the feed. The snapshot has the tenants themselves.
        """
        self._storage.begin_staging()
        steps: list[Step] = []
        for resync in resyncs:
            self._stage_tenant(resync.tenant, only=resync.incarnation)
            changes = self._rollcall.changes(start, tenant=resync.tenant, follow=False)
            again = _read_steps((followed.change for followed in changes), after=0)[0]
            steps += [step for step in again if not isinstance(step, PutTenant)]
        return steps

    # Snapshots

    def _take_snapshot(self, state: State) -> None:
        """Reads everything into staging tables, and swaps them in together with the position."""
        start = self._rollcall.status()["snapshot"]
        self._storage.begin_staging()
        for tenant in self._rollcall.tenants():
            self._stage_tenant(tenant["tenant"])
        with self._storage.transaction():
            self._storage.move_position(state, start, 0)
            self._storage.swap_all(state)
        self._storage.end_staging()

    def _stage_tenant(self, name: str, only: str | None = None) -> None:
        """Reads a tenant. Without a result if it is gone, or is not the incarnation `only`.

        The tenant may be deleted, and another one of its name made, while it is read. So the incarnation is compared
        before and after.
        """
        for _ in range(SNAPSHOT_ATTEMPTS):
            tenant = self._tenant(name, only)
            if tenant is None:
                return
            incarnation = tenant["incarnation"]
            try:
                self._stage_rows(tenant)
                if self._tenant(name, incarnation) is not None:
                    return
            except NotFound:
                pass
            except ProblemError as error:
                if error.code not in ("expiredCursor", "invalidCursor"):
                    raise
            self._storage.unstage(incarnation)
        raise TenantKeepsChanging(
            f"The tenant {name} changed {SNAPSHOT_ATTEMPTS} times while it was read, or reading it took too long. Try again."
        )

    def _tenant(self, name: str, only: str | None = None) -> types.Tenant | None:
        """The tenant; None if it is gone, or is not the incarnation `only`."""
        try:
            tenant = self._rollcall.tenant(name)
        except NotFound:
            return None
        return tenant if only in (None, tenant["incarnation"]) else None

    def _stage_rows(self, tenant: types.Tenant) -> None:
        name, incarnation, stage = tenant["tenant"], tenant["incarnation"], self._storage.stage
        stage("tenants", [(incarnation, name, tenant["rootTeam"])])
        for users in _batches(self._rollcall.users(name)):
            stage("users", [user_row(incarnation, user) for user in users])
        for groups in _batches(self._rollcall.groups(name)):
            stage("groups", [group_row(incarnation, group) for group in groups])
            for group in groups:
                for members in _batches(self._members(name, group["id"])):
                    stage("members", [(incarnation, group["id"], member["value"]) for member in members])
        for roles in _batches(self._rollcall.roles(name)):
            stage("definitions", [definition_row(incarnation, "Role", role) for role in roles])
        for some in _batches(self._rollcall.entitlements(name)):
            stage("definitions", [definition_row(incarnation, "Entitlement", entitlement) for entitlement in some])

    def _members(self, tenant: str, group: str) -> Iterator[types.Member]:
        """The members of a group. If it was deleted after it was listed, the feed says so."""
        try:
            yield from self._rollcall.members(tenant, group)
        except NotFound:
            return


def _read_steps(changes: Iterable[types.Change], after: int) -> tuple[list[Step], list[Resync]]:
    """The steps of the changes whose numbers are above `after`, and the tenants to read again, each once."""
    steps: list[Step] = []
    resyncs: dict[str, Resync] = {}
    for change in changes:
        for step in steps_of(change) if change["seq"] > after else ():
            if isinstance(step, Resync):
                resyncs[step.incarnation] = step
            else:
                steps.append(step)
    return steps, list(resyncs.values())


def _batches(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """The rows in lists that fit into memory."""
    rest = iter(rows)
    while batch := list(islice(rest, ROWS_PER_BATCH)):
        yield batch
