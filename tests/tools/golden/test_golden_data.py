"""The committed files are what tools/golden computes, and diffusers agrees with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden.__main__ import DATA, DIFFUSERS_FILE
from golden.cases import NOISES, Levels, reference_files, run_case
from golden.files import differences, read

FILES = reference_files()
DIFFUSERS = read(DATA / DIFFUSERS_FILE)


def relative_error(got: Any, expected: Any) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(np.subtract(got, expected)).max() / np.abs(expected).max())


def test_no_other_file_is_committed() -> None:
    assert {path.name for path in DATA.iterdir()} == {*FILES, DIFFUSERS_FILE}


@pytest.mark.parametrize("name", FILES)
def test_committed_file_is_what_the_references_compute(name: str) -> None:
    assert differences(FILES[name], read(DATA / name)) == []


def test_differences_are_found() -> None:
    stored = read(DATA / "heun.json")
    stored["cases"][3]["expected"][2] += 1e-9
    stored["cases"][4]["noises_used"] += 1
    found = differences(FILES["heun.json"], stored)
    assert [text.split(":")[0] for text in found] == [
        "/cases/3/expected/2",
        "/cases/4/noises_used",
    ]


def test_diffusers_runs_have_the_committed_inputs() -> None:
    heun = FILES["heun.json"]
    assert DIFFUSERS["latents"] == heun["latents"]
    assert DIFFUSERS["mixture"] == heun["mixture"]
    assert DIFFUSERS["noises"] == [v.tolist() for v in NOISES[: len(DIFFUSERS["noises"])]]


@pytest.mark.parametrize("case", DIFFUSERS["cases"], ids=lambda case: case["name"])
def test_diffusers_agrees(case: dict[str, Any]) -> None:
    final = 0.0 if case["final"] == "zero" else case["final"]
    levels = Levels("", tuple(case["sigmas"]), final)
    ours = run_case(case["solver"], case["parameters"], levels)
    assert ours["noises_used"] == case["noises_used"]
    assert ours["call_sigmas"] == case["call_sigmas"]
    assert relative_error(ours["expected"], case["expected"]) < DIFFUSERS["tolerance"]
    for got, expected in zip(ours["call_states"], case["call_states"], strict=True):
        assert relative_error(got, expected) < DIFFUSERS["tolerance"]
