"""A study: groups of settings to be compared, as a TOML file says them.

images = 1000                # per setting and seed
seeds = [0]                  # runs; more than one shows the spread
reference_images = 20000     # fresh real images that all distances are taken to

[[group]]
id = "rho"                   # lower-case letters, digits and hyphens; names its figure
title = "One rho everywhere"
text = "What the reader should know."
solver = ["heun", "unipc"]   # every combination of the lists is a setting; defaults as below
nfe = [5, 9, 19]
rho = [0.9, 1.0, 1.1]        # or depth = [[bottom, top], ...]; default rho 1
noise = [{window = [0.3, 5]}]           # as in model files: window, ramp or knots
guidance = [1.0, 1.5]        # needs a model trained with label dropout, otherwise left out
s_churn = [0, 10]
x = "rho"                    # axis of its figure: rho, window, guidance or s_churn; optional
images = 2000                # these two replace the study's
seeds = [0, 1, 2]

[[group]]                    # runs the best setting of other groups, and rho 1, once more
id = "confirm"
title = "The best again"
best_of = ["rho"]            # by solver, NFE; fewest Fréchet distance
nfe = [9]                    # of these only; default: all there are
seeds = [1, 2, 3]

[sheets]                     # images at rho 1 and at the best tuning of these groups
best_of = ["rho"]
solver = "heun"
nfe = [5, 9, 19]
count = 12
"""

from __future__ import annotations

import itertools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipstream_files import load_toml

from skipstream_quality.errors import QualityError
from skipstream_quality.settings import Setting, Tuning

AXES = ("rho", "window", "guidance", "s_churn")
_GROUP_FIELDS = {
    *("id", "title", "text", "solver", "nfe", "rho", "depth", "noise", "guidance", "s_churn"),
    *("x", "images", "seeds", "best_of"),
}


@dataclass(frozen=True)
class Group:
    """Settings that one table and figure show."""

    id: str
    title: str
    text: str
    # Empty if best_of says which settings these are.
    settings: tuple[Setting, ...]
    best_of: tuple[str, ...]
    # NFE of best_of to run; empty: all.
    best_of_nfe: tuple[int, ...]
    x: str | None
    images: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Sheets:
    """Contact sheets: the same seeds at rho 1 and at the best tuning."""

    best_of: tuple[str, ...]
    solver: str
    nfe: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Study:
    """Content of the file, checked."""

    reference_images: int
    groups: tuple[Group, ...]
    sheets: Sheets | None


def load_study(file: Path) -> Study:
    """Raises QualityError, naming the field, for what is not of the form above."""
    try:
        return parse_study(load_toml(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise QualityError(f"{file}: {error}") from error
    except QualityError as error:
        raise QualityError(f"{file}: {error}") from error


def parse_study(root: dict[str, Any]) -> Study:
    """As `load_study`, from the parsed file."""
    _only(root, {"images", "seeds", "reference_images", "group", "sheets"}, "the study")
    images = _whole(root.get("images", 1000), "images", 2)
    seeds = _seeds(root.get("seeds", [0]))
    groups: list[Group] = []
    for i, entry in enumerate(root.get("group", [])):
        what = f"group {i + 1}"
        _only(entry, _GROUP_FIELDS, what)
        known = [group.id for group in groups]
        group = _group(entry, what, images, seeds, known)
        if group.id in known:
            raise QualityError(f"{what}: the id {group.id!r} is taken")
        sources = [g for g in groups if g.id in group.best_of]
        if len({(g.images, g.seeds) for g in sources}) > 1:
            raise QualityError(
                f"{what}: best_of groups must have the same images and seeds: distances of other "
                "numbers of pictures do not compare"
            )
        groups.append(group)
    if not groups:
        raise QualityError("a study has at least one [[group]]")
    sheets = root.get("sheets")
    return Study(
        _whole(root.get("reference_images", 20000), "reference_images", 1000),
        tuple(groups),
        None if sheets is None else _sheets(sheets, [group.id for group in groups]),
    )


def _group(
    entry: dict[str, Any], what: str, images: int, seeds: tuple[int, ...], known: list[str]
) -> Group:
    name = entry.get("id", "")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        raise QualityError(f"{what}: id must be 1 to 40 lower-case letters, digits and hyphens")
    best_of = _names(entry.get("best_of", []), known, what)
    if best_of and entry.keys() & {"solver", "rho", "depth", "noise", "guidance", "s_churn"}:
        raise QualityError(f"{what}: best_of takes its settings from other groups")
    only: tuple[int, ...] = ()
    if best_of and "nfe" in entry:
        only = tuple(_whole(nfe, f"{what}: nfe", 1) for nfe in _list(entry["nfe"], f"{what}: nfe"))
    axis = entry.get("x")
    if axis is not None and axis not in AXES:
        raise QualityError(f"{what}: x must be one of {', '.join(AXES)}")
    return Group(
        id=name,
        title=str(entry.get("title", name)),
        text=str(entry.get("text", "")),
        settings=() if best_of else _settings(entry, what),
        best_of=best_of,
        best_of_nfe=only,
        x=axis,
        images=_whole(entry.get("images", images), f"{what}: images", 2),
        seeds=_seeds(entry["seeds"]) if "seeds" in entry else seeds,
    )


def _settings(entry: dict[str, Any], what: str) -> tuple[Setting, ...]:
    if "rho" in entry and "depth" in entry:
        raise QualityError(f"{what}: give rho or depth, not both")
    depths = [(rho, rho) for rho in _list(entry.get("rho", [1.0]), f"{what}: rho")]
    if "depth" in entry:
        depths = _list(entry["depth"], f"{what}: depth")
    tunings = []
    for depth, noise in itertools.product(depths, _list(entry.get("noise", [{}]), what)):
        if not isinstance(depth, (list, tuple)) or len(depth) != 2:
            raise QualityError(f"{what}: depth must be a list of [bottom, top]")
        value: dict[str, Any] = {"rho_bottom": depth[0], "rho_top": depth[1]}
        if noise:
            value["noise"] = noise
        try:
            tunings.append(Tuning.from_json(value))
        except QualityError as error:
            raise QualityError(f"{what}: {error}") from error
    settings = [
        Setting(str(solver), _whole(nfe, f"{what}: nfe", 1), tuning, float(guidance), float(churn))
        for solver, nfe, tuning, guidance, churn in itertools.product(
            _list(entry.get("solver", ["heun"]), f"{what}: solver"),
            _list(entry.get("nfe", [9]), f"{what}: nfe"),
            tunings,
            _list(entry.get("guidance", [1.0]), f"{what}: guidance"),
            _list(entry.get("s_churn", [0.0]), f"{what}: s_churn"),
        )
    ]
    return tuple(dict.fromkeys(settings))


def _sheets(entry: Any, known: list[str]) -> Sheets:
    if not isinstance(entry, dict):
        raise QualityError("sheets must be a table")
    _only(entry, {"best_of", "solver", "nfe", "count"}, "sheets")
    return Sheets(
        _names(entry.get("best_of", known), known, "sheets"),
        str(entry.get("solver", "heun")),
        tuple(_whole(nfe, "sheets: nfe", 1) for nfe in _list(entry.get("nfe", [9]), "sheets: nfe")),
        _whole(entry.get("count", 12), "sheets: count", 1),
    )


def _names(value: Any, known: list[str], what: str) -> tuple[str, ...]:
    for name in value if isinstance(value, list) else [value]:
        if name not in known:
            raise QualityError(f"{what}: best_of names no earlier group: {name!r}")
    return tuple(value)


def _only(entry: dict[str, Any], fields: set[str], what: str) -> None:
    if unknown := entry.keys() - fields:
        raise QualityError(f"{what} has no field {min(unknown)!r}")


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise QualityError(f"{what} must be a list with at least one entry")
    return value


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = tuple(_whole(seed, "seeds", 0) for seed in _list(value, "seeds"))
    if len(set(seeds)) != len(seeds):
        raise QualityError("seeds must differ from each other")
    return seeds


def _whole(value: Any, what: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise QualityError(f"{what} must be a whole number of {least} or more, not {value!r}")
    return value
