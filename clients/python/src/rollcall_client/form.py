"""Checks what comes from outside: whether a value has the members that the client reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, Union

from .errors import UnexpectedAnswer

LARGEST_NUMBER = 2**53 - 1
"""The largest number that every reader of JSON has exactly. Databases can store it."""


@dataclass(frozen=True)
class OrNull:
    """A value that may be null."""

    form: Form


Members = Mapping[str, "Form"]
"""The forms of the members of an object."""

Form = Union[type, OrNull, Members, list["Form"]]
"""The form of a value.

- `str`, `int` and `bool` are a text, a whole number, and true or false.
- A list has the form of its elements.
- A mapping has the forms of members of an object. A member with `?` at its end may be absent or null.
"""

_Answer = TypeVar("_Answer")


class Answer(Generic[_Answer]):
    """The form of an answer, or of an object in one."""

    def __init__(self, members: Members) -> None:
        self.members = members

    def read(self, value: Any, place: str = "") -> _Answer:
        """The value. Raises UnexpectedAnswer if it has another form. `place` is where the value is in an answer."""
        check(value, self.members, place)
        read: _Answer = value
        return read


def read_json(body: bytes) -> Any:
    """The JSON of a body. Raises UnexpectedAnswer if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        # Raised below, without this error: it has the body.
        pass
    raise UnexpectedAnswer("it is not JSON" if body else "it is empty")


def check(value: Any, form: Form, place: str) -> None:
    """Raises UnexpectedAnswer if a value has another form. The error names the place, and no value."""
    if isinstance(form, OrNull):
        if value is not None:
            check(value, form.form, place)
    elif isinstance(form, Mapping):
        _check_kind(value, dict, place)
        for name, inner in form.items():
            _check_member(value, name, inner, place)
    elif isinstance(form, list):
        _check_kind(value, list, place)
        for index, element in enumerate(value):
            check(element, form[0], f"{place}[{index}]")
    else:
        _check_kind(value, form, place)


def _check_member(value: dict[str, Any], name: str, form: Form, place: str) -> None:
    name, is_optional = name.removesuffix("?"), name.endswith("?")
    inside = f"{place}.{name}" if place else name
    if is_optional and value.get(name) is None:
        return
    if name not in value:
        raise UnexpectedAnswer(f"{inside} is missing")
    check(value[name], form, inside)


_KINDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    float: "a number",
    type(None): "null",
}


def _check_kind(value: Any, kind: type, place: str) -> None:
    # True is an int too, so the types are compared.
    if type(value) is kind and (type(value) is not int or abs(value) <= LARGEST_NUMBER):
        return
    found = _KINDS[float if type(value) is int else type(value)]
    raise UnexpectedAnswer(f"{place or 'it'} is {found}, not {_KINDS[kind]}")
