"""Shows a search while it runs: a table of the best, and a plot of the grid as SVG."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from skipstream_files import write
from skipstream_quality.settings import Tuning
from skipstream_quality.svg import Panel, Series, draw

from skipstream_tune.search import Plan, profiles

_ROWS = 10


@dataclass(frozen=True)
class Trial:
    """One evaluation of a search."""

    nfe: int
    tuning: Tuning
    images: int
    distance: float


class LiveTable:
    """On a terminal a table that is drawn over; elsewhere a line per trial."""

    def __init__(self, title: str, out: TextIO = sys.stdout) -> None:
        self._title = title
        self._out = out
        self._live = out.isatty()
        self._trials: list[Trial] = []
        self._drawn = 0

    def add(self, trial: Trial) -> None:
        """A trial is done."""
        self._trials.append(trial)
        if self._live:
            self._draw()
        else:
            print(
                f"{self._title} NFE {trial.nfe}, {trial.images} pictures, rho {trial.tuning}: "
                f"distance {trial.distance:.3f}",
                file=self._out,
                flush=True,
            )

    def lines(self) -> list[str]:
        """The table of the NFE that is searched now, the best first."""
        if not self._trials:
            return []
        nfe = self._trials[-1].nfe
        mine = [trial for trial in self._trials if trial.nfe == nfe]
        # More images first: their distances are smaller and say more.
        mine.sort(key=lambda trial: (-trial.images, trial.distance))
        lines = [f"{self._title}, NFE {nfe}: {len(mine)} trials", "  distance  pictures  rho"]
        for trial in mine[:_ROWS]:
            lines.append(f"  {trial.distance:8.3f}  {trial.images:8d}  {trial.tuning}")
        return lines

    def _draw(self) -> None:
        lines = self.lines()
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"\x1b[2K{line[:118]}\n" for line in lines)
        print(up + text, end="", file=self._out, flush=True)
        self._drawn = len(lines)


def plot(file: Path, trials: Sequence[Trial], plan: Plan) -> None:
    """Distance against rho for every profile of the grid, a panel for each NFE."""
    panels = []
    for nfe in sorted({trial.nfe for trial in trials}):
        by_tuning = {
            t.tuning: t.distance for t in trials if t.nfe == nfe and t.images == plan.coarse_images
        }
        plain = next((d for tuning, d in by_tuning.items() if tuning.plain), None)
        lines: dict[str, list[tuple[float, float]]] = {}
        for rho in plan.rho:
            for name, tuning in profiles(plan.sigma_split, rho).items():
                if tuning in by_tuning:
                    lines.setdefault(name, []).append((rho, by_tuning[tuning]))
        for points in lines.values():
            if plain is not None:
                points.append((1.0, plain))
            points.sort()
        panels.append(
            Panel(
                title=f"NFE {nfe}",
                x_label="rho",
                y_label="Fréchet distance",
                series=[Series(name, points) for name, points in lines.items()],
                log_y=True,
                level=plain,
                level_label="rho 1",
            )
        )
    if panels:
        write(file, draw([panels]).encode())
