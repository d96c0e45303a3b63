"""Verification, against the library of the Standard Webhooks project and a real delivery."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
import standardwebhooks
from conftest import Dev, start_dev

from rollcall_client import InvalidRequest, NotFound, Rollcall, Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = '{"type":"rollcall.changes","data":{"changes":[{"seq":1,"who":"Zoë"}]}}'


def signed(secret: str = SECRET, at: float | None = None, body: str = BODY) -> dict[str, str]:
    """Headers as the other library makes them."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, timezone.utc)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", moment, body)
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(moment.timestamp())), "Webhook-Signature": signature}


def test_what_the_other_library_signs_is_accepted() -> None:
    assert Webhook(SECRET).verify(BODY.encode(), signed()) == json.loads(BODY)
    assert Webhook(SECRET.removeprefix("whsec_")).verify(BODY, signed()) == json.loads(BODY)


def test_one_of_two_signatures_is_enough_while_rotating() -> None:
    headers = signed(OTHER)
    headers["Webhook-Signature"] += f" v2,unknown {signed()['Webhook-Signature']}"
    assert Webhook(SECRET).verify(BODY, headers)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: signed(OTHER), "Check the secret"),
        (lambda: {**signed(), "body": BODY + " "}, "bytes of the body"),
        (lambda: {**signed(), "Webhook-Id": "msg_2"}, "No signature fits"),
        (lambda: signed(at=time.time() - 400), "five minutes"),
        (lambda: signed(at=time.time() + 400), "five minutes"),
        (lambda: {**signed(), "Webhook-Timestamp": "9" * 5000}, "not a number"),
        (lambda: {**signed(), "Webhook-Signature": signed()["Webhook-Signature"][:-4]}, "No signature fits"),
        (lambda: {**signed(), "Webhook-Signature": "v1,é"}, "No signature fits"),
        (lambda: {**signed(), "Webhook-Signature": "v1,\udce9"}, "No signature fits"),
        (lambda: {**signed(), "Webhook-Id": "msg_\udce9"}, "No signature fits"),
        (lambda: {**signed(), "body": BODY + "\udce9"}, "bytes of the body"),
        (lambda: {"Webhook-Id": "msg_1"}, "header is missing"),
    ],
)
def test_everything_else_is_refused_as_the_other_library_does(change: Callable[[], dict[str, str]], reason: str) -> None:
    headers = change()
    body = headers.pop("body", BODY)
    with pytest.raises(WebhookVerificationError, match=reason):
        Webhook(SECRET).verify(body, headers)
    with pytest.raises((standardwebhooks.WebhookVerificationError, ValueError)):
        standardwebhooks.Webhook(SECRET).verify(body, headers)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        '"a text"',
        "[1]",
        "null",
        "{}",
        '{"type":5,"data":{}}',
        '{"type":"rollcall.changes","data":[]}',
        '{"type":"rollcall.changes","data":{}}',
        '{"type":"rollcall.changes","data":{"changes":[{"seq":"1"}]}}',
        "[" * 200_000,
    ],
)
def test_a_signed_message_of_another_form_is_refused(body: str) -> None:
    with pytest.raises(WebhookVerificationError, match="The signature fits, and the message is not of Rollcall: ") as refused:
        Webhook(SECRET).verify(body, signed(body=body))
    assert refused.value.__context__ is None


def test_a_message_of_a_type_that_is_not_known_may_have_any_data() -> None:
    body = '{"type":"rollcall.tomorrow","data":{"changes":5}}'
    assert Webhook(SECRET).verify(body, signed(body=body)) == json.loads(body)


def test_a_clock_without_a_time_accepts_nothing() -> None:
    with pytest.raises(WebhookVerificationError, match="five minutes"):
        Webhook(SECRET).verify(BODY, signed(), now=math.nan)


def test_a_secret_that_cannot_be_one_is_refused() -> None:
    part = SECRET[:30]
    for secret in ("whsec_", "", "whsec_*not base64*", "whsec_…", f"{SECRET}\n", f"{SECRET}é", part, f"whsec_{'A' * 100}"):
        with pytest.raises(ValueError, match="rotate it"):
            Webhook(secret)


class Receiver(HTTPServer):
    """Takes messages, as a product does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.received: Queue[tuple[bytes, dict[str, str]]] = Queue()
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.put((body, dict(self.headers)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_webhook_is_made_tested_rotated_changed_and_deleted(dev: Dev, client: Rollcall, receiver: Receiver) -> None:
    made = client.create_webhook({"url": receiver.url, "includeResource": True})
    id = made["id"]
    assert [one["id"] for one in client.webhooks()] == [id]
    user = dev.scim().create_user("hook")
    changes: dict[str, Any] = {}
    while user not in changes:
        message = Webhook(made["secret"]).verify(*next_message(receiver, "rollcall.changes"))
        changes |= {change["resourceId"]: change for change in message["data"]["changes"]}
    created = changes[user]
    assert created["resource"]["displayName"] == "hook"

    rotated = client.rotate_webhook(id, {"overlapSeconds": 3600})
    assert client.test_webhook(id)["state"] == "pending"
    body, headers = next_message(receiver, "rollcall.test")
    for secret in (made["secret"], rotated["secret"]):
        assert Webhook(secret).verify(body, headers)["type"] == "rollcall.test"
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)
    end = time.monotonic() + 20
    while (test := client.webhook(id)["test"]) is None or test["state"] != "taken":
        assert time.monotonic() < end, test
        time.sleep(0.1)

    assert client.update_webhook(id, {"enabled": False})["enabled"] is False
    client.delete_webhook(id)
    with pytest.raises(NotFound):
        client.webhook(id)
    with pytest.raises(InvalidRequest, match="address"):
        client.create_webhook({"url": "https://10.0.0.1/hook"})


def next_message(receiver: Receiver, kind: str) -> tuple[bytes, dict[str, str]]:
    while True:
        body, headers = receiver.received.get(timeout=20)
        if json.loads(body)["type"] == kind:
            return body, headers


def test_a_delivery_of_rollcall_dev_is_accepted(tmp_path: Path, receiver: Receiver) -> None:
    dev = start_dev(tmp_path, "--forward-to", receiver.url)
    try:
        dev.scim().create_user("hook")
        message = Webhook(dev.line["webhook_secret"]).verify(*next_message(receiver, "rollcall.changes"))
        assert message["data"]["changes"]
    finally:
        dev.stop()
