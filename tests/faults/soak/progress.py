"""Shows the progress of a run on stderr: a live line on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time


class Progress:
    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._start = time.monotonic()
        self._last = 0.0

    def show(self, text: str) -> None:
        """What goes on; soon replaced by the next."""
        now = time.monotonic()
        if now - self._last < (0.2 if self._live else 10.0):
            return
        self._last = now
        text = f"{self._clock()} {text}"
        print(
            f"\r\x1b[2K{text[:110]}" if self._live else text,
            end="" if self._live else "\n",
            file=sys.stderr,
            flush=True,
        )

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._live:
            print("\r\x1b[2K", end="", file=sys.stderr)
        print(f"{self._clock()} {text}", file=sys.stderr, flush=True)

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        return f"[{minutes:2d}:{seconds:02d}]"
