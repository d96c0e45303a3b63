"""Sends requests, and sends them again where that is safe."""

from __future__ import annotations

import email.utils
import random
import re
import time
from collections.abc import Callable, Mapping
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


class Transport:
    """Sends requests with the application key.

    - 429 is sent again, whatever the method: the server has done nothing.
    - 500, 502, 503, 504 and lost connections are sent again unless the method is POST. A POST may have been done.
    """

    def __init__(self, url: str, key: str, sleep: Callable[[float], None] = time.sleep) -> None:
        """Raises ValueError if `url` or `key` cannot be right."""
        _check_settings(url, key)
        headers = {"Authorization": f"Bearer {key}", "User-Agent": "rollcall-client-python/0.1.0"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS)
        self._sleep = sleep

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
    ) -> httpx.Response:
        """Sends a request and returns the answer, which is a success or 304.

        A DELETE that is sent again may find that the first one was done. Then 404 counts as a success.

        Raises ProblemError for a refusal, ConnectionLost if there is no answer, and UnexpectedAnswer if something else
        answers 404 or 410.
        """
        params = {name: value for name, value in (query or {}).items() if value is not None}
        may_be_done = False
        for attempt in range(1, ATTEMPTS + 1):
            pause = 0.2 * 2**attempt * random.uniform(0.5, 1.0)
            try:
                response = self._http.request(method, path, params=params, json=body, headers=headers)
            except httpx.RequestError as error:
                if method == "POST" or attempt == ATTEMPTS:
                    message = f"{method} {path} got no answer ({type(error).__name__}). Check the URL and the network."
                    raise ConnectionLost(message) from error
                may_be_done = True
            else:
                if response.is_success or response.status_code == 304:
                    return response
                asked = _retry_after(response)
                pause = max(pause, asked or 0.0)
                if not _may_repeat(method, response.status_code) or attempt == ATTEMPTS or pause > LONGEST_PAUSE_SECONDS:
                    refusal = _refusal(response, asked)
                    if method == "DELETE" and may_be_done and isinstance(refusal, NotFound):
                        return httpx.Response(204)
                    raise refusal
                may_be_done = may_be_done or response.status_code != 429
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def _check_settings(url: str, key: str) -> None:
    """Raises ValueError if the URL or the key cannot be right. The error shows neither: they may be exchanged."""
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


def _refusal(response: httpx.Response, retry_after: float | None) -> ProblemError | UnexpectedAnswer:
    request_id = response.headers.get("x-amzn-requestid")
    return problem_from(response.status_code, response.reason_phrase, response.content, request_id, retry_after)


def _retry_after(response: httpx.Response) -> float | None:
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
