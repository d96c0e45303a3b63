"""Sends requests, and sends them again where that is safe."""

from __future__ import annotations

import email.utils
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import httpx

from .errors import ConnectionLost, NotFound, ProblemError, UnexpectedAnswer, problem_from

ATTEMPTS = 5
"""How often a request is sent at most."""
LONGEST_PAUSE_SECONDS = 60.0
"""A longer `Retry-After` is not waited for: the refusal is raised, and has it."""
LONGEST_RETRY_AFTER_SECONDS = 86_400.0
"""A longer `Retry-After` counts as a day."""
TIMEOUT_SECONDS = 40.0
"""The gateway answers within 29 seconds."""
LONGEST_TIMEOUT_SECONDS = 86_400.0
"""Sockets refuse some larger numbers."""
BYTES_PER_SECOND = 100_000
"""For each so many bytes the whole answer may take a second more: a slow network is no failure."""
LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
"""Lists of Rollcall have at most 40 MB of JSON. AWS Lambda passes on at most 6 MB, but lists can be packed by gzip."""

_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)
"""The event that ends the requests of this thread."""


class Stopped(Exception):
    """The event of `stopped_by` is set."""


@contextmanager
def stopped_by(stop: threading.Event) -> Iterator[None]:
    """Ends the requests of this thread when `stop` is set: before each attempt, and in the pauses between them.

    Other threads may use the same client, and go on. `send` raises Stopped.
    """
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def _sleep(seconds: float) -> None:
    stop = _stop.get()
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)


@dataclass(frozen=True)
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reason: str = ""
    """What the status line says after the status."""

    @property
    def is_success(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status < 300


class Transport:
    """Sends requests with the application key.

    - 429 is sent again, whatever the method: the server has done nothing.
    - 500, 502, 503, 504 and lost connections are sent again unless the method is POST. A POST may have been done.
    """

    def __init__(
        self,
        url: str,
        key: str,
        sleep: Callable[[float], None] = _sleep,
        *,
        attempts: int = ATTEMPTS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`attempts` is how often a request is sent at most. `timeout_seconds` is how long each wait for the server may
        take, and how long the whole answer, which has a second more for each 100 KB.

        Raises ValueError if a setting cannot be right.
        """
        _check_settings(url, key, attempts, timeout_seconds)
        headers = {"Authorization": f"Bearer {key}", "User-Agent": "rollcall-client-python/0.1.0"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds)
        self._sleep = sleep
        self._attempts = attempts
        self._timeout_seconds = timeout_seconds

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Sends a request and returns the answer, which is a success or 304.

        A DELETE that is sent again may find that the first one was done. Then 404 counts as a success.

        Raises ProblemError for a refusal, ConnectionLost if there is no answer, UnexpectedAnswer if something else
        answers or the answer is too large, and Stopped if the event of `stopped_by` is set.
        """
        params = {name: value for name, value in (query or {}).items() if value is not None}
        may_be_done = False
        for attempt in range(1, self._attempts + 1):
            stop = _stop.get()
            if stop is not None and stop.is_set():
                raise Stopped
            pause = 0.2 * 2**attempt * random.uniform(0.5, 1.0)
            try:
                response = self._receive(self._http.build_request(method, path, params=params, json=body, headers=headers))
            except httpx.RequestError as error:
                if method == "POST" or attempt == self._attempts:
                    message = f"{method} {path} got no answer ({type(error).__name__}). Check the URL and the network."
                    raise ConnectionLost(message) from error
                may_be_done = True
            else:
                if response.is_success or response.status == 304:
                    return response
                asked = _retry_after(response)
                pause = max(pause, asked or 0.0)
                if not _may_repeat(method, response.status) or attempt == self._attempts or pause > LONGEST_PAUSE_SECONDS:
                    refusal = _refusal(response, asked)
                    if method == "DELETE" and may_be_done and isinstance(refusal, NotFound):
                        return Response(204, {}, b"")
                    raise refusal
                may_be_done = may_be_done or response.status != 429
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _receive(self, request: httpx.Request) -> Response:
        """Sends a request once.

        Raises httpx.RequestError if there is no answer, and UnexpectedAnswer if it is too large or packed more than once.
        """
        end = time.monotonic() + self._timeout_seconds
        answer = self._http.send(request, stream=True)
        # httpx limits each wait for bytes, so an answer that comes byte by byte would not end.
        answer.stream = _UntilTime(answer.stream, end)
        body = bytearray()
        try:
            # httpx unpacks each part as a whole. A part that is packed twice may become gigabytes at once.
            if "," in answer.headers.get("Content-Encoding", ""):
                raise UnexpectedAnswer("it has more than one Content-Encoding")
            for part in answer.iter_bytes():
                body += part
                if len(body) > LARGEST_ANSWER_BYTES:
                    raise UnexpectedAnswer(f"it has more than {LARGEST_ANSWER_BYTES} bytes")
        finally:
            answer.close()
        return Response(answer.status_code, answer.headers, bytes(body), answer.reason_phrase)


class _UntilTime(httpx.SyncByteStream):
    """A stream that fails with httpx.ReadTimeout when a part of it comes too late.

    `end` is a time of the monotonic clock. Each part that comes moves it, by BYTES_PER_SECOND.
    """

    def __init__(self, stream: Any, end: float) -> None:
        self._stream = stream
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            if time.monotonic() > self._end:
                raise httpx.ReadTimeout("The answer takes too long.")
            self._end += len(part) / BYTES_PER_SECOND
            yield part

    def close(self) -> None:
        self._stream.close()


def _check_settings(url: str, key: str, attempts: int, timeout_seconds: float) -> None:
    """Raises ValueError if a setting cannot be right. The error shows neither URL nor key: they may be exchanged."""
    # True is an int too, so the types are compared.
    if type(attempts) is not int or attempts < 1:
        raise ValueError("attempts must be a whole number from 1, such as 5.")
    if type(timeout_seconds) not in (int, float) or not 0 < timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        raise ValueError(f"timeout_seconds must be a number of seconds above 0, at most {LONGEST_TIMEOUT_SECONDS:g}, such as 40.")
    if not _is_base_url(url):
        raise ValueError(
            "The URL of Rollcall is not the base URL of an API. It begins with http:// or https://, ends with /app/v1,"
            " and has no spaces and no line breaks, such as http://127.0.0.1:3000/app/v1."
        )
    if not re.fullmatch("[!-~]+", key):
        raise ValueError(
            "The application key is empty, or has a space, a line break or a character that is not ASCII."
            " Copy it again: it begins with rca_. A file often ends with a line break, which must be removed."
        )


def _is_base_url(text: str) -> bool:
    if re.search(r"\s", text):
        return False
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and url.host != "" and not (url.userinfo or url.query or url.fragment)


def _may_repeat(method: str, status: int) -> bool:
    return status == 429 or (method != "POST" and status in (500, 502, 503, 504))


def _refusal(response: Response, retry_after: float | None) -> ProblemError | UnexpectedAnswer:
    request_id = response.headers.get("x-amzn-requestid")
    return problem_from(response.status, response.reason, response.body, request_id, retry_after)


def _retry_after(response: Response) -> float | None:
    """The seconds that `Retry-After` asks for, as a number or as a date; None if it does not say.

    A date is compared with that of the answer, because the clock of this machine may be wrong.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_RETRY_AFTER_SECONDS)
    until = _date(text)
    if until is None:
        return None
    now = _date(response.headers.get("Date", "")) or datetime.now(timezone.utc)
    return min(max(0.0, (until - now).total_seconds()), LONGEST_RETRY_AFTER_SECONDS)


def _date(text: str) -> datetime | None:
    """The date of a header; None if it is not one."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)
