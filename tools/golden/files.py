"""Golden files on disk: JSON with one case a line, floats in the shortest form that reads back as
the same double (at most 17 digits)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import skipstream_files


def _dump(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def write(path: Path, content: dict[str, Any]) -> None:
    head = [f'"{key}":{_dump(value)},' for key, value in content.items() if key != "cases"]
    cases = ",\n".join(_dump(case) for case in content["cases"])
    skipstream_files.write(path, "\n".join(["{", *head, '"cases":[', cases, "]}", ""]).encode())


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def differences(computed: Any, stored: Any, tolerance: float = 1e-11, at: str = "") -> list[str]:
    """Where two files differ: anything in their structure, numbers by more than the tolerance
    (relative above 1, absolute below), as libm differs in its last digits between machines."""
    if isinstance(computed, dict) and isinstance(stored, dict):
        if computed.keys() != stored.keys():
            return [f"{at}: keys {sorted(computed)} and {sorted(stored)}"]
        pairs = [(key, computed[key], stored[key]) for key in computed]
    elif isinstance(computed, list) and isinstance(stored, list):
        if len(computed) != len(stored):
            return [f"{at}: {len(computed)} and {len(stored)} items"]
        pairs = [(str(i), *both) for i, both in enumerate(zip(computed, stored, strict=True))]
    elif isinstance(computed, float) and isinstance(stored, float):
        close = math.isclose(computed, stored, rel_tol=tolerance, abs_tol=tolerance)
        return [] if close else [f"{at}: {computed!r} and {stored!r}"]
    else:
        same = type(computed) is type(stored) and computed == stored
        return [] if same else [f"{at}: {computed!r} and {stored!r}"]
    return [
        found
        for key, left, right in pairs
        for found in differences(left, right, tolerance, f"{at}/{key}")
    ]
