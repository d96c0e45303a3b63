"""Settings that cannot be right are refused before a request is sent."""

from __future__ import annotations

import math

import pytest

from rollcall_client import Rollcall

URL, KEY = "http://127.0.0.1:9/app/v1", "rca_x"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:3000/app/v1",
        "localhost/app/v1",
        "ftp://127.0.0.1/app/v1",
        "http://",
        "http:///app/v1",
        "http:127.0.0.1/app/v1",
        "http://127.0.0.1:port/app/v1",
        f"{URL}\n",
        f" {URL}",
        f"{URL}?tenant=demo",
        f"{URL}#start",
        "http://user:secret@127.0.0.1/app/v1",
        KEY,
    ],
)
def test_a_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="begins with http:// or https://") as refused:
        Rollcall(url, KEY)
    assert KEY not in str(refused.value), "the URL and the key may be exchanged"


@pytest.mark.parametrize("key", ["", "rca_x\n", " rca_x", "rca_…", "rca_x\0", "rca_\udce9"])
def test_a_key_that_cannot_be_one_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="begins with rca_") as refused:
        Rollcall(URL, key)
    assert key == "" or key not in str(refused.value)


def test_numbers_that_cannot_be_right_are_refused() -> None:
    for attempts in (0, -1, math.nan, math.inf, 1.5, "5", None, True):
        with pytest.raises(ValueError, match="attempts must be"):
            Rollcall(URL, KEY, attempts=attempts)  # type: ignore[arg-type]
    for seconds in (0, -1, math.nan, math.inf, 1e9, "5", None, True):
        with pytest.raises(ValueError, match="timeout_seconds must be"):
            Rollcall(URL, KEY, timeout_seconds=seconds)  # type: ignore[arg-type]


def test_the_environment_is_checked_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLCALL_APP_URL", URL)
    monkeypatch.setenv("ROLLCALL_APPLICATION_KEY", "rca_x\n")
    with pytest.raises(ValueError, match="line break"):
        Rollcall.from_env()
    monkeypatch.setenv("ROLLCALL_APPLICATION_KEY", KEY)
    with pytest.raises(ValueError, match="attempts"):
        Rollcall.from_env(attempts=0)
