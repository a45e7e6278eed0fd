"""Presets: recommended skip-tunings as files, and inside model files (metadata key `skip_tuning`).

The form is model/files/presets.h's: {"presets": [{"name", "nfe", "solver"?, depth, "noise"?}]}.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from skipstream_files import read_text, replaced

from skipstream_quality.errors import QualityError
from skipstream_quality.results import Results, beats
from skipstream_quality.settings import Tuning

_KEY = "skip_tuning"
_MAX_HEADER = 16 << 20
_MAX_PRESETS = 256 << 10  # bytes the server reads
_ALIGNMENT = 8


@dataclass(frozen=True)
class Preset:
    """One recommendation; solver None: for any."""

    name: str
    nfe: int
    solver: str | None
    tuning: Tuning

    def as_json(self) -> dict[str, Any]:
        """As model files say it."""
        entry: dict[str, Any] = {"name": self.name, "nfe": self.nfe}
        if self.solver is not None:
            entry["solver"] = self.solver
        return {**entry, **self.tuning.as_json()}

    @staticmethod
    def from_json(entry: Any) -> Preset:
        """QualityError if the server would refuse it, or if it lists rho by skip ("rho_list")."""
        if not isinstance(entry, dict):
            raise QualityError("a preset must be an object")
        rest = dict(entry)
        name, nfe, solver = rest.pop("name", None), rest.pop("nfe", None), rest.pop("solver", None)
        if not isinstance(name, str) or not 1 <= len(name.encode()) <= 64:
            raise QualityError("a preset's name must have 1 to 64 characters")
        if isinstance(nfe, bool) or not isinstance(nfe, int) or not 1 <= nfe <= 100000:
            raise QualityError(f"preset {name!r}: nfe must be from 1 to 100000")
        if solver is not None and not isinstance(solver, str):
            raise QualityError(f"preset {name!r}: solver must be a name")
        if not rest.keys() & {"rho", "rho_bottom"}:
            raise QualityError(f"preset {name!r} needs rho, or rho_bottom and rho_top")
        return Preset(name, nfe, solver, Tuning.from_json(rest))


def presets_from_results(results: Results, name: str) -> tuple[list[Preset], list[str]]:
    """Where the best setting beats rho 1 beyond chance (`beats`); and a line on each of the others.

    Where it does not, the preset is rho 1: otherwise a request for this NFE would get that of
    another.
    """
    presets, notes = [], []
    for (solver, nfe), (plain, best) in sorted(results.evidence().items()):
        if plain is None:
            notes.append(f"{solver}, NFE {nfe}: no preset, rho 1 was not measured")
            continue
        tuning = best.setting.tuning
        if not beats(best, plain):
            notes.append(f"{solver}, NFE {nfe}: rho {tuning} does not beat rho 1 beyond chance")
            tuning = Tuning()
        presets.append(Preset(name, nfe, solver, tuning))
    return presets, notes


def presets_of(model: Path) -> list[Preset]:
    """Those in a model file; raises QualityError if one of them cannot be kept by these tools."""
    with model.open("rb") as source:
        header = _read_header(model, source)
    text = header.get("__metadata__", {}).get(_KEY)
    if text is None:
        return []
    try:
        return checked([Preset.from_json(entry) for entry in json.loads(text)["presets"]])
    except (ValueError, KeyError, TypeError, QualityError) as error:
        raise QualityError(f"{model}: its presets cannot be kept: {error}") from error


def read_presets(file: Path) -> list[Preset]:
    """Raises QualityError if the server would not take it."""
    try:
        value = json.loads(read_text(file))
    except (OSError, ValueError) as error:
        raise QualityError(f"{file}: {error}") from error
    if not isinstance(value, dict) or value.keys() != {"presets"}:
        raise QualityError(f'{file}: must be {{"presets": [...]}}')
    if not isinstance(value["presets"], list):
        raise QualityError(f"{file}: presets must be a list")
    try:
        return checked([Preset.from_json(entry) for entry in value["presets"]])
    except QualityError as error:
        raise QualityError(f"{file}: {error}") from error


def checked(presets: Sequence[Preset]) -> list[Preset]:
    """Sorted; raises QualityError if two are for the same name, NFE and solver."""
    found: dict[tuple[str, int, str], Preset] = {}
    for preset in presets:
        key = (preset.name, preset.nfe, preset.solver or "")
        if key in found:
            raise QualityError(f"two presets {preset.name!r} for the same solver and NFE")
        found[key] = preset
    return [found[key] for key in sorted(found)]


def merged(old: Sequence[Preset], new: Sequence[Preset]) -> list[Preset]:
    """New ones replace old ones of the same name, solver and NFE."""
    keys = {(p.name, p.solver, p.nfe) for p in new}
    return checked([*(p for p in old if (p.name, p.solver, p.nfe) not in keys), *new])


def presets_json(presets: Sequence[Preset]) -> dict[str, Any]:
    """The whole object."""
    return {"presets": [preset.as_json() for preset in presets]}


def write_into_model(model: Path, presets: Sequence[Preset], output: Path) -> None:
    """Copies a model file with these presets in the place of those it has; may be the same file.

    Tensors are copied byte for byte. After an error `output` is as it was.
    """
    text = json.dumps(presets_json(checked(presets)), separators=(",", ":"), allow_nan=False)
    if len(text) > _MAX_PRESETS:
        raise QualityError(f"the presets have {len(text)} bytes; the server reads {_MAX_PRESETS}")
    with model.open("rb") as source, replaced(output) as out:
        header = _read_header(model, source)
        header.setdefault("__metadata__", {})[_KEY] = text
        head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        head += b" " * (-len(head) % _ALIGNMENT)
        out.write(struct.pack("<Q", len(head)))
        out.write(head)
        shutil.copyfileobj(source, out, 1 << 20)


def _read_header(model: Path, source: BinaryIO) -> dict[str, Any]:
    try:
        (length,) = struct.unpack("<Q", source.read(8))
        if length > _MAX_HEADER:
            raise ValueError(f"its header would have {length} bytes")
        header = json.loads(source.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        return header
    except (struct.error, ValueError) as error:
        raise QualityError(f"{model} is no model file: {error}") from error
