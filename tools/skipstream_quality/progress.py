"""One line that says how far a run is; on a terminal it is drawn over."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Counts images."""

    def __init__(self, total_images: int, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._total = total_images
        self._done = 0
        self._start = time.monotonic()
        self._last = 0.0
        self._label = ""
        self._live = out.isatty()

    def begin(self, label: str) -> None:
        """Names the next images."""
        self._label = label
        self._draw(force=self._live)

    def add(self, images: int) -> None:
        """More images are there."""
        self._done += images
        self._draw()

    def note(self, line: str) -> None:
        """A line that stays."""
        self._clear()
        print(line, file=self._out, flush=True)

    def close(self) -> None:
        """Leaves the terminal on a fresh line."""
        self._clear()

    def _draw(self, force: bool = False) -> None:
        now = time.monotonic()
        # A log gets a line now and then, a terminal a smooth count.
        if not force and now - self._last < (0.2 if self._live else 15.0):
            return
        self._last = now
        rate = self._done / max(now - self._start, 1e-9)
        text = f"{min(self._done, self._total)} of {self._total} pictures"
        if self._done and now - self._start > 2:
            left = max(0, self._total - self._done) / rate
            text += f", {rate:.1f}/s, about {_duration(left)} left"
        text += f" | {self._label}"
        if self._live:
            print(f"\r\x1b[2K{text[:110]}", end="", file=self._out, flush=True)
        else:
            print(text, file=self._out, flush=True)

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[2K", end="", file=self._out, flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
