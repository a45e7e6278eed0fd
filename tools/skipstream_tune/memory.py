"""Distances that are known already, so that a stopped search goes on at once."""

from __future__ import annotations

import json
from pathlib import Path


class Memory:
    """One line of JSON for each distance, appended; a line cut short by a kill is ignored."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, float] = {}
        if file.exists():
            for line in file.read_text().splitlines():
                try:
                    entry = json.loads(line)
                    self._known[entry["key"]] = float(entry["distance"])
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, key: str) -> float | None:
        """None: not known yet."""
        return self._known.get(key)

    def put(self, key: str, distance: float, what: str) -> None:
        """`what` is for people who read the file."""
        self._known[key] = distance
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as out:
            # A cut line before this one must not swallow it.
            out.write("\n" + json.dumps({"key": key, "distance": distance, "what": what}))
