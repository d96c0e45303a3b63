"""Sends requests, and sends them again where that is safe."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import httpx

from .errors import ConnectionLost, problem_from

ATTEMPTS = 5
"""How often a request is sent at most."""
LONGEST_PAUSE_SECONDS = 60.0
"""A longer `Retry-After` is not waited for: the refusal is raised."""
TIMEOUT_SECONDS = 40.0
"""The gateway answers within 29 seconds."""


class Transport:
    """Sends requests with the application key.

    - 429 is sent again, whatever the method: the server has done nothing.
    - 500, 502, 503, 504 and lost connections are sent again unless the method is POST. A POST may have been done.
    """

    def __init__(self, url: str, key: str, sleep: Callable[[float], None] = time.sleep) -> None:
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

        Raises ProblemError for a refusal and ConnectionLost if there is no answer.
        """
        params = {name: value for name, value in (query or {}).items() if value is not None}
        for attempt in range(1, ATTEMPTS + 1):
            pause = 0.2 * 2**attempt * random.uniform(0.5, 1.0)
            try:
                response = self._http.request(method, path, params=params, json=body, headers=headers)
            except httpx.TransportError as error:
                if method == "POST" or attempt == ATTEMPTS:
                    message = f"{method} {path} got no answer ({type(error).__name__}). Check the URL and the network."
                    raise ConnectionLost(message) from error
            else:
                if response.is_success or response.status_code == 304:
                    return response
                pause = max(pause, _retry_after(response))
                if not _may_repeat(method, response.status_code) or attempt == ATTEMPTS or pause > LONGEST_PAUSE_SECONDS:
                    request_id = response.headers.get("x-amzn-requestid")
                    raise problem_from(response.status_code, response.reason_phrase, response.content, request_id)
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")


def _may_repeat(method: str, status: int) -> bool:
    return status == 429 or (method != "POST" and status in (500, 502, 503, 504))


def _retry_after(response: httpx.Response) -> float:
    """The seconds that `Retry-After` asks for, as a number or as a date."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
