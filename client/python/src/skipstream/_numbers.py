"""Numbers as callers give them: Python's, numpy's scalars and arrays, whatever converts itself."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

INT32 = (-(2**31), 2**31 - 1)
UINT32 = (0, 2**32 - 1)
# A century. Deadlines end in 2262, where nanoseconds since 1970 no longer fit into 64 bits.
_LONGEST_WAIT = 100 * 365 * 86400


def is_single(value: object) -> bool:
    """True for one number, not a sequence of them; an array of no dimensions is one."""
    converts = hasattr(value, "__index__") or hasattr(value, "__float__")
    return converts and getattr(value, "ndim", 0) == 0


def integer(name: str, value: object, bounds: tuple[int, int] = INT32) -> int:
    """An integer within `bounds`, both included. Raises TypeError or ValueError with `name`."""
    plain = _plain(value)
    if isinstance(plain, bool):
        raise TypeError(f"{name} must be an integer, got {plain!r}")
    try:
        result = operator.index(plain)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not bounds[0] <= result <= bounds[1]:
        raise ValueError(f"{name} must be from {bounds[0]} to {bounds[1]}, got {result}")
    return result


def number(name: str, value: object) -> float:
    """A finite number. Raises TypeError or ValueError with `name`."""
    plain = _plain(value)
    if not is_single(plain) or isinstance(plain, (str, bytes)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        result = float(plain)
    except (TypeError, OverflowError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(result):
        raise ValueError(f"{name} must be a finite number, got {result}")
    return result


def numbers(name: str, values: object) -> list[float]:
    """A sequence of finite numbers. Raises TypeError or ValueError with `name`."""
    return [number(f"{name}[{i}]", value) for i, value in enumerate(sequence(name, values))]


def integers(name: str, values: object, bounds: tuple[int, int] = INT32) -> list[int]:
    """A sequence of integers within `bounds`. Raises TypeError or ValueError with `name`."""
    return [integer(f"{name}[{i}]", v, bounds) for i, v in enumerate(sequence(name, values))]


def sequence(name: str, values: object) -> Iterable[object]:
    """`values`, which can be iterated. Raises TypeError with `name`; text is no sequence."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence, got {values!r}")
    return values


def flag(name: str, value: object) -> bool:
    """True or False, also as 1 or 0. Raises TypeError with `name`."""
    plain = _plain(value)
    if plain not in (True, False):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(plain)


def seconds(name: str, value: object) -> float | None:
    """A time to wait; None: as long as it takes. Raises TypeError or ValueError with `name`."""
    if value is None:
        return None
    plain = _plain(value)
    if isinstance(plain, (int, float)) and plain > _LONGEST_WAIT:  # infinity too
        return None
    result = number(name, plain)
    if result < 0:
        raise ValueError(f"{name} must be 0 or more seconds, or None, got {result}")
    return None if result > _LONGEST_WAIT else result


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Python's own kind of a numpy scalar or of an array of no dimensions; else `value` itself."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
