"""What is sent again. A proxy before a real `rollcall dev` refuses requests, or drops connections."""

from __future__ import annotations

import email.utils
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from conftest import Dev
from played import Played

import rollcall_client
from rollcall_client import Rollcall
from rollcall_client.transport import Transport

DROP, FORGET = "drop before", "drop after"


class Proxy(ThreadingHTTPServer):
    """Forwards to `target`, after it did what `faults` lists: a status and a Retry-After, or a drop."""

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Forwarder)
        self.target = target
        self.faults: list[Any] = []
        self.seen: list[str] = []


class Forwarder(BaseHTTPRequestHandler):
    server: Proxy

    def forward(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == DROP:
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() in ("authorization", "content-type")}
        if isinstance(fault, tuple):
            status, retry_after = fault
            problem = b'{"type":"about:blank","title":"Slow down","status":429,"detail":"Wait."}'
            self.answer(status, problem, {"Retry-After": retry_after, "Content-Type": "application/problem+json"})
            return
        response = httpx.request(self.command, self.server.target + self.path, content=body, headers=headers)
        if fault != FORGET:
            kept = {name: value for name, value in response.headers.items() if name == "content-type"}
            self.answer(response.status_code, response.content, kept)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy(dev: Dev) -> Iterator[Proxy]:
    server = Proxy(dev.line["app_url"])
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def flaky(proxy: Proxy, dev: Dev, pauses: list[float]) -> Iterator[Rollcall]:
    """A client behind the proxy, which notes its pauses and does not wait."""
    url = f"http://127.0.0.1:{proxy.server_port}"
    with Rollcall(url, "", Transport(url, dev.line["application_key"], sleep=pauses.append)) as client:
        yield client


def test_retry_after_is_obeyed(proxy: Proxy, flaky: Rollcall, pauses: list[float]) -> None:
    date = email.utils.formatdate(time.time() + 20, usegmt=True)
    proxy.faults = [(429, "7"), (503, date), (503, "0")]
    assert flaky.status()["snapshot"]
    assert pauses[0] == 7 and 17 < pauses[1] <= 20 and 0 < pauses[2] < 2
    assert len(proxy.seen) == 4


def test_lost_connections_of_reads_are_tried_again(proxy: Proxy, flaky: Rollcall, pauses: list[float]) -> None:
    proxy.faults = [DROP, FORGET, DROP]
    assert list(flaky.tenants())
    assert len(proxy.seen) == 4 and pauses == sorted(pauses)


def test_it_gives_up_after_five_attempts(proxy: Proxy, flaky: Rollcall) -> None:
    proxy.faults = [DROP] * 9
    with pytest.raises(rollcall_client.ConnectionLost, match="GET /status got no answer"):
        flaky.status()
    assert len(proxy.seen) == 5
    proxy.faults = [(503, "0")] * 9
    with pytest.raises(rollcall_client.ServerError, match="Wait."):
        flaky.status()
    assert len(proxy.seen) == 10


def test_a_long_pause_is_left_to_the_application(proxy: Proxy, flaky: Rollcall, pauses: list[float]) -> None:
    proxy.faults = [(429, "3600")]
    with pytest.raises(rollcall_client.TooManyRequests):
        flaky.status()
    assert pauses == []


def test_a_refusal_says_how_long_to_wait(proxy: Proxy, flaky: Rollcall, pauses: list[float]) -> None:
    date = email.utils.formatdate(time.time() + 600, usegmt=True)
    far = f"Thu, 01 Jan {'9' * 20} 00:00:00 GMT"
    waits = {"120": 120, date: 600, "9" * 400: 86_400, "soon": None, far: None, "": None}
    for text, expected in waits.items():
        # 400 is never sent again, so it shows what was read of any text.
        proxy.faults = [(400, text)]
        with pytest.raises(rollcall_client.InvalidRequest) as refused:
            flaky.status()
        assert refused.value.retry_after == (expected and pytest.approx(expected, abs=5))
    proxy.faults = [(429, "7")] * 9
    with pytest.raises(rollcall_client.TooManyRequests) as busy:
        flaky.status()
    assert busy.value.retry_after == 7 and pauses == [7] * 4


def test_a_date_to_wait_for_is_compared_with_the_clock_of_the_server(pauses: list[float]) -> None:
    """The clock of this machine is a year behind, as it were."""
    now = time.time() + 365 * 86_400
    dates = {"Date": email.utils.formatdate(now, usegmt=True), "Retry-After": email.utils.formatdate(now + 20, usegmt=True)}
    deployment = Played()
    deployment.instead["/status"] = lambda _: httpx.Response(503, headers=dates)
    assert deployment.client(pauses).status()
    assert pauses == [20]


def test_a_delete_that_was_done_before_the_answer_was_lost_is_a_success(proxy: Proxy, flaky: Rollcall) -> None:
    for fault in (FORGET, DROP):
        flaky.create_role("demo", {"id": "short", "displayName": "Short", "grants": []})
        proxy.faults = [fault]
        flaky.delete_role("demo", "short")
    for faults in ([], [(429, "0")]):
        proxy.faults = faults
        with pytest.raises(rollcall_client.NotFound):
            flaky.delete_role("demo", "short")


def test_an_answer_that_cannot_be_unpacked_is_tried_again(dev: Dev) -> None:
    transport = Transport("http://127.0.0.1:9", "rca_x", sleep=lambda _: None)
    answers = [httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Chunks(b"no gzip")), httpx.Response(200, json={})]
    transport._http = httpx.Client(transport=httpx.MockTransport(lambda _: answers.pop(0)), base_url="http://127.0.0.1:9")
    assert transport.send("GET", "/status").body == b"{}" and answers == []


class Chunks(httpx.SyncByteStream):
    """A body that httpx unpacks when it is read. There is a pause before each part but the first."""

    def __init__(self, *parts: bytes, pause: float = 0.0) -> None:
        self.parts, self.pause, self.sent = parts, pause, 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            time.sleep(self.pause if self.sent else 0.0)
            self.sent += 1
            yield part


def test_an_answer_that_comes_too_slowly_is_a_lost_connection() -> None:
    """As from a server that sends a byte a second: each wait for bytes is short."""
    streams = [Chunks(*[b" "] * 100, pause=0.05) for _ in range(2)]
    answers = [httpx.Response(200, stream=stream) for stream in streams]
    transport = Transport("http://127.0.0.1:9", "rca_x", sleep=lambda _: None, attempts=2, timeout_seconds=0.5)
    transport._http = httpx.Client(transport=httpx.MockTransport(lambda _: answers.pop(0)), base_url="http://127.0.0.1:9")
    with pytest.raises(rollcall_client.ConnectionLost, match="ReadTimeout"):
        transport.send("GET", "/status")
    assert answers == [] and all(5 < stream.sent < 20 for stream in streams)


def test_an_answer_that_is_too_large_is_not_of_rollcall() -> None:
    """As packed: a few kilobytes become gigabytes."""
    packer = zlib.compressobj(wbits=31)
    mebibytes = [packer.compress(b" " * 1024 * 1024) + packer.flush(zlib.Z_SYNC_FLUSH) for _ in range(128)]
    stream = Chunks(*mebibytes)
    deployment = Played()
    deployment.instead["/status"] = lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream)
    with pytest.raises(rollcall_client.UnexpectedAnswer, match="it has more than 67108864 bytes"):
        deployment.client().status()
    assert stream.sent < 80


def test_an_answer_that_is_packed_twice_is_refused_before_it_is_read() -> None:
    """A kilobyte becomes gigabytes in one step."""
    for headers in ([("Content-Encoding", "gzip, gzip")], [("Content-Encoding", "gzip")] * 2):
        stream = Chunks(zlib.compress(zlib.compress(b"{}", wbits=31), wbits=31))
        deployment = Played()
        deployment.instead["/status"] = httpx.Response(200, headers=headers, stream=stream)
        with pytest.raises(rollcall_client.UnexpectedAnswer, match="more than one Content-Encoding"):
            deployment.client().status()
        assert stream.sent == 0 and deployment.requests == ["GET /status"]


def test_an_answer_that_comes_slowly_has_more_time_for_each_100_kb() -> None:
    stream = Chunks(*[b" " * 50_000] * 10, b"{}", pause=0.1)
    transport = Transport("http://127.0.0.1:9", "rca_x", attempts=1, timeout_seconds=0.5)
    mock = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))
    transport._http = httpx.Client(transport=mock, base_url="http://127.0.0.1:9")
    assert transport.send("GET", "/status").body.strip() == b"{}"


def test_a_client_has_its_own_number_of_attempts(proxy: Proxy, dev: Dev) -> None:
    url = f"http://127.0.0.1:{proxy.server_port}/app/v1"
    proxy.faults = [DROP] * 9
    with Rollcall(url, dev.line["application_key"], attempts=1, timeout_seconds=1) as client:
        with pytest.raises(rollcall_client.ConnectionLost):
            client.status()
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_leads_to_another_route_is_refused_before_it_is_sent(id: str) -> None:
    deployment = Played()
    client = deployment.client()
    for call in (lambda: client.tenant(id), lambda: client.user("acme", id), lambda: client.delete_webhook(id)):
        with pytest.raises(ValueError, match="another route"):
            call()
    with pytest.raises(ValueError, match="another route"):
        list(client.members("acme", id))
    assert deployment.requests == []


def test_a_post_is_not_sent_twice_unless_nothing_was_done(proxy: Proxy, flaky: Rollcall) -> None:
    for fault in (FORGET, (503, "0")):
        proxy.faults = [fault]
        with pytest.raises((rollcall_client.ConnectionLost, rollcall_client.ServerError)):
            flaky.create_key("demo", {"name": f"once {fault}"})
    assert len(proxy.seen) == 2
    proxy.faults = [(429, "1")]
    assert flaky.create_key("demo", {"name": "after 429"})["key"].startswith("rc_demo_")
    names = [key["name"] for key in flaky.keys("demo")]
    assert names.count(f"once {FORGET}") == 1 and names.count("after 429") == 1


def test_an_answer_of_something_else_says_what_to_check() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    with Rollcall(f"http://127.0.0.1:{server.server_port}", "rca_x") as wrong:
        with pytest.raises(rollcall_client.UnexpectedAnswer, match="it is a 404 of something else. .*/app/v1"):
            wrong.status()
        with pytest.raises(rollcall_client.UnexpectedAnswer, match="not JSON"):
            wrong._get("/")
    server.shutdown()
    server.server_close()
