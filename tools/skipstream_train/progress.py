"""Shows a run: a line on the terminal, log.jsonl, and curve.svg drawn from it."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from skipstream_files import write

from skipstream_train.state import State

LOG, CURVE = "log.jsonl", "curve.svg"
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Entry:
    """A line of the log: means since the line before it."""

    images: int  # of this run
    images_seen: int  # with those of the file it started from
    loss: float
    gradient_norm: float
    learning_rate: float
    images_per_second: float
    skipped: int  # steps so far whose gradient was not finite


def read_log(path: Path) -> list[Entry]:
    """Without a last line that a kill cut short."""
    entries = []
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            break
    return entries


class Progress:
    """Collects steps into log entries; writes them, the curve and the line."""

    def __init__(
        self,
        folder: Path,
        images: int,
        log_images: int,
        resumed_at: int,
        out: TextIO = sys.stdout,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._target = images
        self._log_images = log_images
        self._out = out
        self._clock = clock
        # Entries after the checkpoint are of steps that will be taken again.
        self.entries = [e for e in read_log(folder / LOG) if e.images <= resumed_at]
        write(folder / LOG, "".join(_line(entry) for entry in self.entries).encode())
        self._logged = self.entries[-1].images if self.entries else 0
        self._since = clock()
        self._since_images = resumed_at
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._shown = -math.inf

    def step(self, state: State, loss: float, norm: float, learning_rate: float) -> None:
        if math.isfinite(norm):
            self._losses.append(loss)
            self._norms.append(norm)
        if state.images - self._logged >= self._log_images and self._losses:
            self._add(state, learning_rate)
        elif self._out.isatty() and self._clock() - self._shown > 1.0:
            self._show(state.images, end="\r")

    def saved(self, state: State) -> None:
        if self.entries:
            write(self._folder / CURVE, curve_svg(self.entries).encode())

    def _add(self, state: State, learning_rate: float) -> None:
        now = self._clock()
        rate = (state.images - self._since_images) / max(now - self._since, 1e-9)
        entry = Entry(
            images=state.images,
            images_seen=state.images_seen,
            loss=sum(self._losses) / len(self._losses),
            gradient_norm=sum(self._norms) / len(self._norms),
            learning_rate=learning_rate,
            images_per_second=rate,
            skipped=state.skipped,
        )
        self.entries.append(entry)
        with (self._folder / LOG).open("a") as log:
            log.write(_line(entry))
        self._logged, self._since, self._since_images = state.images, now, state.images
        self._losses, self._norms = [], []
        self._show(state.images, end="\n")

    def _show(self, images: int, end: str) -> None:
        self._shown = self._clock()
        text = f"{images:,} of {self._target:,} images"
        if self.entries:
            last = self.entries[-1]
            left = (self._target - images) / max(last.images_per_second, 1e-9)
            text += f"  loss {last.loss:.4f} {sparkline([e.loss for e in self.entries])}"
            text += f"  {last.images_per_second:.1f} images/s  {duration(left)} left"
            if last.skipped:
                text += f"  {last.skipped} steps skipped"
        clear = "\x1b[K" if self._out.isatty() else ""
        print(f"{text}{clear}", end=end, file=self._out, flush=True)


def sparkline(values: list[float], width: int = 24) -> str:
    """Means of equal stretches, lowest to highest; logarithmic if all are positive."""
    if not values:
        return ""
    count = min(width, len(values))
    means = []
    for i in range(count):
        stretch = values[i * len(values) // count : (i + 1) * len(values) // count]
        means.append(sum(stretch) / len(stretch))
    if min(means) > 0:
        means = [math.log(mean) for mean in means]
    low, span = min(means), max(means) - min(means)
    if span == 0:
        return BARS[0] * count
    return "".join(BARS[round((mean - low) / span * (len(BARS) - 1))] for mean in means)


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes / 60 / 24:.1f} days"


def curve_svg(entries: list[Entry], width: int = 720, height: int = 360) -> str:
    """Loss (logarithmic) against images seen, every entry and their running mean."""
    left, right, top, bottom = 64, 16, 32, 40
    xs = [entry.images_seen for entry in entries]
    losses = [max(entry.loss, 1e-12) for entry in entries]
    means: list[float] = []
    for loss in losses:
        means.append(means[-1] + 0.1 * (loss - means[-1]) if means else loss)
    low, high = math.log10(min(losses)), math.log10(max(losses))
    margin = max(0.02, 0.05 * (high - low))
    low, high = low - margin, high + margin
    first, last = min(xs), max(max(xs), min(xs) + 1)

    def x_of(images: float) -> float:
        return left + (images - first) / (last - first) * (width - left - right)

    def y_of(loss: float) -> float:
        return top + (high - math.log10(loss)) / (high - low) * (height - top - bottom)

    def line(values: list[float], style: str) -> str:
        points = " ".join(f"{x_of(x):.1f},{y_of(v):.1f}" for x, v in zip(xs, values, strict=True))
        return f'<polyline points="{points}" fill="none" {style}/>'

    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="20">Loss against images seen; last mean {means[-1]:.4g}</text>',
    ]
    for i in range(5):
        loss = 10 ** (low + (high - low) * i / 4)
        images = first + (last - first) * i / 4
        svg += [
            f'<line x1="{left}" x2="{width - right}" y1="{y_of(loss):.1f}" y2="{y_of(loss):.1f}" '
            'stroke="#ddd"/>',
            f'<text x="{left - 6}" y="{y_of(loss) + 4:.1f}" text-anchor="end">{loss:.3g}</text>',
            f'<text x="{x_of(images):.1f}" y="{height - 16}" text-anchor="middle">'
            f"{_short(images)}</text>",
        ]
    svg += [
        line(losses, 'stroke="#b9cfe8" stroke-width="1"'),
        line(means, 'stroke="#1f5fa8" stroke-width="2"'),
        "</svg>",
    ]
    return "\n".join(svg) + "\n"


def _short(images: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if images >= size:
            return f"{images / size:.3g}{unit}"
    return f"{images:.0f}"


def _line(entry: Entry) -> str:
    return json.dumps(entry.__dict__) + "\n"
