"""tools/tune from one end to the other, at the smallest size."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from skipstream_quality.options import DEFAULT_MODEL
from skipstream_quality.presets import merged, presets_of, read_presets
from skipstream_quality.service import weights_identity
from skipstream_tune.cli import main

TOOL = Path(__file__).resolve().parents[3] / "tools" / "tune"
SMALL = ["--solver=euler", "--nfe=2", "--rho", "0.9", "--coarse-images=32", "--refine-images=32"]
SMALL += ["--rounds=1", "--kept=1", "--final-images=32", "--final-seeds=2"]


def test_writes_presets_that_a_model_file_takes(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(DEFAULT_MODEL, model)
    command = [*SMALL, "--address", address, f"--cache={tmp_path}/cache", "--reference=parts"]
    command += [f"--output={tmp_path}/presets.json", f"--plot={tmp_path}/tune.svg"]
    subprocess.run([TOOL, *command, f"--write-model={model}"], check=True, timeout=250)
    first = capfd.readouterr().out
    presets = read_presets(tmp_path / "presets.json")
    assert [(p.name, p.solver, p.nfe) for p in presets] == [("default", "euler", 2)]
    assert presets_of(model) == merged(presets_of(DEFAULT_MODEL), presets)
    assert weights_identity(model) == weights_identity(DEFAULT_MODEL)
    assert (tmp_path / "tune.svg").exists()
    assert "on held-out seeds" in first
    trials = [line for line in first.splitlines() if line.startswith("euler NFE 2, 32 pictures")]
    # rho 1 and seven profiles, then the neighbourhood of the best.
    assert len(trials) > 8 + 4
    assert len(trials) == len(set(trials))


def test_the_same_command_goes_on_from_what_is_known_without_data_too(
    address: str, tmp_path: Path
) -> None:
    command = [*SMALL, "--address", address, f"--cache={tmp_path}/cache", "--own-nfe=5"]
    command += ["--reference-images=64", f"--output={tmp_path}/presets.json", "--name=mine"]
    assert main(command) == 0
    written = json.loads((tmp_path / "presets.json").read_text())
    assert [preset["name"] for preset in written["presets"]] == ["mine"]
    before = (tmp_path / "cache" / "tune.jsonl").read_text()
    assert main(command) == 0
    # Known distances were not measured again.
    assert (tmp_path / "cache" / "tune.jsonl").read_text() == before
    assert json.loads((tmp_path / "presets.json").read_text()) == written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "5", "0.3"], "lower first"),
        (["--coarse-images=8"], "32 pictures"),
        (["--rho", "1.0"], "other than 1"),
        (["--nfe", "2", "2"], "twice"),
        (["--per-request=0"], "--per-request"),
        (["--model=x"], "--model-file"),
    ],
)
def test_says_what_is_wrong_with_a_command(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, *arguments]) == 1
    assert message in capfd.readouterr().err
