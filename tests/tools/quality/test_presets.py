"""Presets come from results and go into model files that the server loads."""

import json
from pathlib import Path

import pytest
import skipstream
from skipstream_quality.errors import QualityError
from skipstream_quality.options import DEFAULT_MODEL
from skipstream_quality.presets import (
    Preset,
    merged,
    presets_from_results,
    presets_json,
    presets_of,
    read_presets,
    write_into_model,
)
from skipstream_quality.results import Cell, GroupResult, Results
from skipstream_quality.server import DEFAULT_BINARY, own_server
from skipstream_quality.service import weights_identity
from skipstream_quality.settings import Setting, Tuning

PRESETS = [
    Preset("default", 5, "euler", Tuning(0.9, 1.1)),
    Preset("default", 9, None, Tuning(1.05, 1.05, ("window", (5.0, 80.0)))),
    Preset("sharp", 9, "heun", Tuning(0.8, 0.8, ("ramp", "strongest_at_low_sigma"))),
    Preset("sharp", 19, "heun", Tuning(1.1, 1.1, ("knots", ((0.3, 1.0), (5.0, 0.25))))),
]


def results_of(*distances: tuple[float, list[float]], nfe: int = 9) -> Results:
    cells = [
        Cell(Setting("heun", nfe, Tuning(rho, rho)), tuple({"fd": fd} for fd in runs))
        for rho, runs in distances
    ]
    group = GroupResult("rho", "", "", None, 100, [0], [], cells)
    return Results({}, "", 1000, groups=[group])


def test_the_server_loads_them_and_answers_with_them(tmp_path: Path) -> None:
    model = tmp_path / "tuned.safetensors"
    write_into_model(DEFAULT_MODEL, PRESETS, model)
    with (
        own_server(DEFAULT_BINARY, str(model), ["--warmup_budget=0.2"]) as address,
        skipstream.Client(address) as client,
    ):
        found = client.model().presets
        assert {(p.name, p.nfe, p.solver) for p in found} == {
            (p.name, p.nfe, p.solver) for p in PRESETS
        }
        image = client.generate(seeds=1, classes=0, solver="euler", nfe=2, preset="default")[0]
        resolved = image.resolved_request.skip_tuning.explicit_rho.rho
        assert resolved[0] == pytest.approx(0.9)
        assert resolved[-1] == pytest.approx(1.1)


def test_leaves_weights_alone_and_replaces_only_the_presets_of_the_same_kind(
    tmp_path: Path,
) -> None:
    model = tmp_path / "model.safetensors"
    write_into_model(DEFAULT_MODEL, PRESETS, model)
    assert weights_identity(model) == weights_identity(DEFAULT_MODEL)
    assert presets_of(model) == PRESETS
    new = Preset("sharp", 9, "heun", Tuning(0.7, 0.7))
    write_into_model(model, merged(presets_of(model), [new]), model)
    assert presets_of(model) == [*PRESETS[:2], new, PRESETS[3]]
    assert weights_identity(model) == weights_identity(DEFAULT_MODEL)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_preset_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "presets.json"
    file.write_text(json.dumps(presets_json(PRESETS)))
    assert read_presets(file) == PRESETS


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "", "nfe": 9, "rho": 1}, "1 to 64"),
        ({"name": "a", "nfe": 0, "rho": 1}, "nfe"),
        ({"name": "a", "nfe": 9}, "needs rho"),
        ({"name": "a", "nfe": 9, "rho": 3}, "from 0 to 2"),
        ({"name": "a", "nfe": 9, "rho": 1, "rho_top": 1}, "not both"),
        ({"name": "a", "nfe": 9, "rho": 1, "noise": {}}, "exactly one"),
        ({"name": "a", "nfe": 9, "rho": 1, "more": 1}, "no field 'more'"),
        ({"name": "a", "nfe": 9, "rho": float("nan")}, "number"),
    ],
)
def test_refuses_what_the_server_would_refuse(
    tmp_path: Path, entry: dict[str, object], message: str
) -> None:
    file = tmp_path / "presets.json"
    file.write_text(json.dumps({"presets": [entry]}))
    with pytest.raises(QualityError, match=message):
        read_presets(file)


def test_refuses_two_for_the_same_case() -> None:
    with pytest.raises(QualityError, match="two presets"):
        merged([], [PRESETS[0], PRESETS[0]])


def test_a_clear_gain_becomes_a_preset() -> None:
    presets, notes = presets_from_results(results_of((1.0, [50.0]), (1.1, [30.0])), "default")
    assert presets == [Preset("default", 9, "heun", Tuning(1.1, 1.1))]
    assert not notes


@pytest.mark.parametrize(
    ("plain", "tuned"),
    [
        ([50.0], [49.0]),  # one run cannot show so little
        ([50.0, 60.0, 40.0], [56.0, 44.0, 31.0]),  # the runs differ more than the settings
    ],
)
def test_a_gain_within_chance_becomes_rho_1(plain: list[float], tuned: list[float]) -> None:
    presets, notes = presets_from_results(results_of((1.0, plain), (1.1, tuned)), "default")
    assert presets == [Preset("default", 9, "heun", Tuning())]
    assert "beyond chance" in notes[0]


def test_pictures_that_did_not_choose_a_setting_overrule_those_that_did() -> None:
    results = results_of((1.0, [50.0]), (1.1, [30.0]))
    again = results_of((1.0, [40.0, 41.0]), (1.1, [52.0, 53.0])).groups[0]
    again.id, again.best_of = "again", ["rho"]
    results.groups.append(again)
    presets, _ = presets_from_results(results, "default")
    assert presets == [Preset("default", 9, "heun", Tuning())]
