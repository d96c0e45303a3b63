"""Verifies messages of webhooks (Standard Webhooks 1.0.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Any

from . import answers
from .errors import RollcallError, UnexpectedAnswer
from .form import read_json

TOLERANCE_SECONDS = 300
SECRET_BYTES = range(24, 65)
"""How many bytes a secret of Standard Webhooks has. Those of Rollcall have 32."""


class WebhookVerificationError(RollcallError):
    """The message is not one of this webhook, or it is too old. Answer 401."""


class Webhook:
    """Verifies the messages of one webhook."""

    def __init__(self, secret: str) -> None:
        """`secret` is `whsec_…`, as it was shown once."""
        try:
            self._key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError as error:
            raise ValueError("The secret is not whsec_ and base64. Copy it again, or rotate it.") from error
        if len(self._key) not in SECRET_BYTES:
            raise ValueError("The secret does not have 24 to 64 bytes. Copy it again, or rotate it.")

    def verify(self, body: bytes | str, headers: Mapping[str, str], now: float | None = None) -> dict[str, Any]:
        """Returns the message. `body` must be the bytes as they came. Raises WebhookVerificationError."""
        raw = _bytes(body) if isinstance(body, str) else body
        named = {name.lower(): value for name, value in headers.items()}
        parts = [named.get(f"webhook-{name}") for name in ("id", "timestamp", "signature")]
        id, timestamp, signatures = (part or "" for part in parts)
        if not (id and timestamp and signatures):
            raise WebhookVerificationError("A header is missing: webhook-id, webhook-timestamp or webhook-signature.")
        if not re.fullmatch("[0-9]{1,15}", timestamp):
            raise WebhookVerificationError("The header webhook-timestamp is not a number of seconds.")
        # A comparison with NaN is false, and so it is refused.
        if not abs((time.time() if now is None else now) - int(timestamp)) <= TOLERANCE_SECONDS:
            raise WebhookVerificationError("The timestamp is more than five minutes away. Check the clock of this machine.")
        signed = _bytes(f"{id}.{timestamp}.") + raw
        expected = b"v1," + base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256))
        if not any(hmac.compare_digest(expected, _bytes(one)) for one in signatures.split(" ")):
            raise WebhookVerificationError("No signature fits. Check the secret, and verify the bytes of the body as they came.")
        try:
            return _read(raw)
        except UnexpectedAnswer as error:
            wrong = error.what
        raise WebhookVerificationError(f"The signature fits, and the message is not of Rollcall: {wrong}.")


def _read(body: bytes) -> dict[str, Any]:
    """The message. Raises UnexpectedAnswer if it has another form. Types that are not known may have any data."""
    message = answers.MESSAGE.read(read_json(body))
    if message["type"] == "rollcall.changes":
        answers.MESSAGE_OF_CHANGES.read(message)
    return message


def _bytes(text: str) -> bytes:
    """The text in UTF-8. Web frameworks show bytes of headers that are not text as surrogates."""
    return text.encode("utf-8", "surrogatepass")
