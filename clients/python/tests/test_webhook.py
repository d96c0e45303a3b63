"""Verification, against the library of the Standard Webhooks project and a real delivery."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest
import standardwebhooks
from conftest import start_dev

from rollcall_client import Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = '{"type":"rollcall.changes","data":{"changes":[{"seq":1,"who":"Zoë"}]}}'


def signed(secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """Headers as the other library makes them."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, timezone.utc)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", moment, BODY)
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


def test_a_secret_that_cannot_be_one_is_refused() -> None:
    for secret in ("whsec_", "", "whsec_*not base64*"):
        with pytest.raises(ValueError, match="rotate it"):
            Webhook(secret)


def test_a_delivery_of_rollcall_is_accepted(tmp_path: Path) -> None:
    received: Queue[tuple[bytes, dict[str, str]]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((body, dict(self.headers)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    dev = start_dev(tmp_path, "--forward-to", f"http://127.0.0.1:{server.server_port}/hook")
    try:
        secret = dev.line["webhook_secret"]
        dev.scim().create_user("hook")
        body, headers = received.get(timeout=20)
        message = Webhook(secret).verify(body, headers)
        assert message["type"] == "rollcall.changes" and message["data"]["changes"]
        with pytest.raises(WebhookVerificationError):
            Webhook(OTHER).verify(body, headers)
    finally:
        dev.stop()
        server.shutdown()

