"""What can go wrong. Each error says what to change."""

from __future__ import annotations

import json

_PREFIX = "urn:rollcall:problem:"


class RollcallError(Exception):
    """The base of all errors of this package."""


class ConnectionLost(RollcallError):
    """The server could not be reached, or the connection broke before its answer came."""


class UnexpectedAnswer(RollcallError):
    """An answer that is not of this API, but of a proxy for example. A read can be sent again."""

    def __init__(self, what: str) -> None:
        """`what` says what was wrong, without values of the answer but its request id: they may be secrets."""
        super().__init__(f"The answer is not of this API: {what}. Check that the URL ends with /app/v1, and whether a proxy answered.")
        self.what = what


class MissingResource(UnexpectedAnswer):
    """A change of a user, group, role or entitlement came without its state."""


class ProblemError(RollcallError):
    """A refusal of the server (RFC 9457). `detail` says what to change."""

    def __init__(
        self,
        status: int,
        type: str,
        title: str,
        detail: str,
        request_id: str | None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.type = type
        """`about:blank`, or `urn:rollcall:problem:` and a name."""
        self.title = title
        self.detail = detail
        self.request_id = request_id
        """The id of the request in the log of Rollcall."""
        self.retry_after = retry_after
        """For how many seconds the server asks to wait (`Retry-After`); None if it does not say."""

    @property
    def code(self) -> str | None:
        """The name in `type`, such as `invalidFilter`; None for `about:blank`."""
        return self.type.removeprefix(_PREFIX) if self.type.startswith(_PREFIX) else None


class InvalidRequest(ProblemError):
    """400, 405, 412, 413, 415: the request must be changed."""


class Unauthorized(ProblemError):
    """401: the application key is not in force."""


class Forbidden(ProblemError):
    """403: the key needs the scope `manage`."""


class NotFound(ProblemError):
    """404: the tenant, user, group, key or webhook does not exist."""


class Conflict(ProblemError):
    """409: `code` tells the reason."""


class LostPosition(ProblemError):
    """410: the feed cannot be read from this position. Take a snapshot."""


class TooManyRequests(ProblemError):
    """429: the rate limit is reached, after all attempts."""


class ServerError(ProblemError):
    """500 and above: the request can be sent again."""


_CLASSES: dict[int, type[ProblemError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: LostPosition,
    429: TooManyRequests,
}


def problem_from(
    status: int, reason: str, body: bytes, request_id: str | None, retry_after: float | None = None
) -> ProblemError | UnexpectedAnswer:
    """The error for an answer that is not a success.

    A status below 500 is believed only with a problem of Rollcall, because a mirror removes what a 404 names, and ends
    after most others. 401 and 429 are always believed.
    """
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        read = None
    members = read if isinstance(read, dict) else {}
    problem = {name: value for name, value in members.items() if isinstance(value, str)}
    if status < 500 and status not in (401, 429) and not {"type", "detail"} <= problem.keys():
        asked = f" (x-amzn-requestid {request_id})" if request_id else ""
        return UnexpectedAnswer(f"it is a {status} of something else{asked}")
    detail = problem.get("detail") or "The answer has no details. Check that the URL ends with /app/v1."
    kind = _CLASSES.get(status, ServerError if status >= 500 else InvalidRequest)
    type, title = problem.get("type", "about:blank"), problem.get("title", reason)
    return kind(status, type, title, detail, request_id, retry_after)
