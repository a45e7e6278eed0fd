"""Short ways to convert a file that is in memory."""

from __future__ import annotations

from typing import Any

from checkpoints import Array
from skipstream_convert.checkpoint import convert
from skipstream_convert.conversion import Conversion, Options


def converted(data: bytes, format_name: str = "auto", **options: Any) -> Conversion:
    return convert(memoryview(data), format_name, Options(**options))


def values(conversion: Conversion) -> dict[str, Array]:
    return {name: tensor.values() for name, tensor in conversion.tensors.items()}
