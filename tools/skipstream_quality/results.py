"""Results of a study: a JSON form, and queries for tables, sheets and presets."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from skipstream_files import read_text

from skipstream_quality.errors import QualityError
from skipstream_quality.settings import Setting, Tuning

# Least gain over rho 1 that makes a preset, as a share of the distance: what one run can show with
# common random numbers. With several runs it must also exceed twice the standard error of the
# difference.
LEAST_GAIN = 0.05


@dataclass(frozen=True)
class Cell:
    """One setting with the scores of its runs, one run a seed."""

    setting: Setting
    runs: tuple[dict[str, float], ...]

    def mean(self, score: str) -> float:
        """Over the runs."""
        return float(np.mean([run[score] for run in self.runs]))

    def spread(self, score: str) -> float | None:
        """Sample standard deviation over the runs; None for a single one."""
        if len(self.runs) < 2:
            return None
        return float(np.std([run[score] for run in self.runs], ddof=1))

    def as_json(self) -> dict[str, Any]:
        """The form in the results file."""
        s = self.setting
        return {
            "solver": s.solver,
            "nfe": s.nfe,
            "tuning": s.tuning.as_json(),
            "guidance": s.guidance,
            "s_churn": s.s_churn,
            "runs": list(self.runs),
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> Cell:
        """Raises KeyError or QualityError for another form."""
        setting = Setting(
            value["solver"],
            value["nfe"],
            Tuning.from_json(value["tuning"]),
            value["guidance"],
            value["s_churn"],
        )
        return Cell(setting, tuple(value["runs"]))


@dataclass
class GroupResult:
    """One group of a study."""

    id: str
    title: str
    text: str
    x: str | None
    images: int
    seeds: list[int]
    # The groups whose best settings these are; empty for a group with explicit settings.
    best_of: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    # Settings that this model cannot do, and why.
    left_out: list[str] = field(default_factory=list)


@dataclass
class Results:
    """A whole study."""

    model: dict[str, Any]
    encoder: str
    reference_images: int
    server_version: str = ""
    # Scores of real images by their number.
    floor: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    groups: list[GroupResult] = field(default_factory=list)
    sheets: list[dict[str, Any]] = field(default_factory=list)

    def cells(self, groups: Iterable[str] | None = None) -> Iterator[Cell]:
        """Of these groups; default: all."""
        wanted = None if groups is None else set(groups)
        for group in self.groups:
            if wanted is None or group.id in wanted:
                yield from group.cells

    def evidence(self) -> dict[tuple[str, int], tuple[Cell | None, Cell]]:
        """By solver and NFE, rho 1 and the best setting on the best evidence there is.

        That is a group that measured the best settings of others again, if there is one: what was
        chosen for its score looks better than it is on the images it was chosen by. Otherwise the
        groups with the most images: distances of other numbers of images do not compare.
        """
        found: dict[tuple[str, int], tuple[Cell | None, Cell]] = {}
        most = max((group.images for group in self.groups), default=0)
        first_hand = [group.id for group in self.groups if group.images == most]
        found.update(plain_and_best(self.cells(first_hand)))
        for group in self.groups:
            if group.best_of:
                found.update(plain_and_best(group.cells))
        return found

    def floor_of(self, images: int, score: str) -> tuple[float, float]:
        """Mean and standard deviation of a score of this many real images."""
        values = [run[score] for run in self.floor[images]]
        return float(np.mean(values)), float(np.std(values, ddof=1))

    def as_json(self) -> dict[str, Any]:
        """The form in the results file."""
        return {
            "model": self.model,
            "encoder": self.encoder,
            "reference_images": self.reference_images,
            "server_version": self.server_version,
            "floor": {str(images): runs for images, runs in sorted(self.floor.items())},
            "groups": [
                {**vars(group), "cells": [cell.as_json() for cell in group.cells]}
                for group in self.groups
            ],
            "sheets": self.sheets,
        }

    @staticmethod
    def load(file: Path) -> Results:
        """Raises QualityError if the file is not a study's."""
        try:
            value = json.loads(read_text(file))
            groups = [
                GroupResult(**{**group, "cells": [Cell.from_json(cell) for cell in group["cells"]]})
                for group in value.pop("groups")
            ]
            floor = {int(images): runs for images, runs in value.pop("floor").items()}
            return Results(**value, floor=floor, groups=groups)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise QualityError(f"{file} holds no results of a study: {error}") from error


def plain_and_best(cells: Iterable[Cell]) -> dict[tuple[str, int], tuple[Cell | None, Cell]]:
    """By solver and NFE: the cell at rho 1 if there is one, and the one of least distance.

    Only settings that differ in skip-tuning alone compare: no guidance, no churn.
    """
    found: dict[tuple[str, int], tuple[Cell | None, Cell]] = {}
    for cell in cells:
        s = cell.setting
        if s.guidance != 1.0 or s.s_churn:
            continue
        plain, best = found.get((s.solver, s.nfe), (None, cell))
        if s.tuning.plain:
            plain = cell
        if cell.mean("fd") < best.mean("fd"):
            best = cell
        found[s.solver, s.nfe] = (plain, best)
    return found


def beats(best: Cell, plain: Cell) -> bool:
    """True if the distance is smaller by more than chance; see LEAST_GAIN."""
    gain = plain.mean("fd") - best.mean("fd")
    if gain <= LEAST_GAIN * plain.mean("fd"):
        return False
    if len(best.runs) < 2 or len(best.runs) != len(plain.runs):
        return True
    # The runs pair up: same seeds, same noise.
    pairs = zip(best.runs, plain.runs, strict=True)
    differences = [theirs["fd"] - ours["fd"] for ours, theirs in pairs]
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return gain > 2 * error
