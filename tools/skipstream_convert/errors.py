"""The one error of this package, and how text from a file is shown in it."""

from __future__ import annotations

from collections.abc import Iterable

_MAX_SHOWN = 80
_MAX_LISTED = 8


class ConvertError(Exception):
    """The checkpoint cannot be converted; says what is wrong and what would be valid."""


def quoted(text: object) -> str:
    """Text from a file as messages show it: quoted, printable ASCII, cut if it is long."""
    if not isinstance(text, str):
        return f"a {type(text).__name__}"
    shown = text[:_MAX_SHOWN].encode("ascii", "backslashreplace").decode()
    shown = "".join(c if c.isprintable() and c != "'" else f"\\x{ord(c):02x}" for c in shown)
    return f"'{shown}...'" if len(text) > _MAX_SHOWN else f"'{shown}'"


def listed(names: Iterable[str]) -> str:
    """The first few names, quoted, and how many more there are."""
    names = list(names)
    text = ", ".join(quoted(name) for name in names[:_MAX_LISTED])
    more = len(names) - _MAX_LISTED
    return f"{text} and {more} more" if more > 0 else text
