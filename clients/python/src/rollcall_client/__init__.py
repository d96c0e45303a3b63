"""Client of Rollcall's application API."""

from . import types
from .client import FollowedChange, Rollcall
from .errors import (
    Conflict,
    ConnectionLost,
    Forbidden,
    InvalidRequest,
    LostPosition,
    MissingResource,
    NotFound,
    ProblemError,
    RollcallError,
    ServerError,
    TooManyRequests,
    Unauthorized,
    UnexpectedAnswer,
)
from .webhook import Webhook, WebhookVerificationError

__all__ = [
    "Conflict",
    "ConnectionLost",
    "FollowedChange",
    "Forbidden",
    "InvalidRequest",
    "LostPosition",
    "MissingResource",
    "NotFound",
    "ProblemError",
    "Rollcall",
    "RollcallError",
    "ServerError",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedAnswer",
    "Webhook",
    "WebhookVerificationError",
    "types",
]
