"""How user names and ids of roles compare."""

from __future__ import annotations

import re
import unicodedata

_WIDE = re.compile("[\uff01-\uffee\u3000]")
"""The block of fullwidth and halfwidth forms, and the ideographic space."""
_ROLE_ID = re.compile("[a-z0-9._:-]{1,64}")
"""What an id of a role is in lower case."""


def user_name_key(text: str) -> str:
    """The form in which user names compare, that of the column `user_name_key`.

    Rollcall compares them by the profile UsernameCaseMapped (RFC 8265, section 3.3): fullwidth and halfwidth characters
    as the ordinary ones, lower case, NFC. Doing it twice changes nothing.
    """
    ordinary = _WIDE.sub(lambda wide: unicodedata.normalize("NFKC", wide[0]), text)
    return unicodedata.normalize("NFC", ordinary.lower())


def role_id_key(value: str) -> str | None:
    """The form in which a value of a user's `roles` compares with ids of roles: NFKC, case folding, NFKC.

    It is the id in lower case. None if no role can have this id, so that the value grants nothing.
    """
    key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    return key if _ROLE_ID.fullmatch(key) else None
