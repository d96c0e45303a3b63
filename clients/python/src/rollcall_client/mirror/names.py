"""How user names compare."""

from __future__ import annotations

import re
import unicodedata

_WIDE = re.compile("[\uff01-\uffee\u3000]")
"""The block of fullwidth and halfwidth forms, and the ideographic space."""


def user_name_key(text: str) -> str:
    """The form in which user names compare, that of the column `user_name_key`.

    Rollcall compares them by the profile UsernameCaseMapped (RFC 8265, section 3.3): fullwidth and halfwidth characters
    as the ordinary ones, lower case, NFC. Doing it twice changes nothing.
    """
    ordinary = _WIDE.sub(lambda wide: unicodedata.normalize("NFKC", wide[0]), text)
    return unicodedata.normalize("NFC", ordinary.lower())
