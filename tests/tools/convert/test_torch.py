"""Files that PyTorch itself writes convert like those the other tests write by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import ROOT, small_fixture
from conversions import converted, values

TORCH = (
    ROOT / ".deps" / "torch"
)  # tools/dev unpacks it for the references; the converter needs none

HALVES = ("model.map_label.weight", "model.map_augment.weight")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (TORCH / "torch" / "__init__.py").is_file():
        pytest.skip(f"PyTorch is not in {TORCH.relative_to(ROOT)}")
    folder = tmp_path_factory.mktemp("torch")
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("write_with_torch.py"), folder],
        env=os.environ | {"PYTHONPATH": str(TORCH)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return folder


def test_a_pickled_tree_of_modules(folder: Path) -> None:
    model = small_fixture()
    conversion = converted((folder / "snapshot.pkl").read_bytes())
    found = values(conversion)
    assert found.keys() == model.parameters.keys()
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    config = conversion.network.config
    assert {key: config[key] for key in model.config} == model.config


@pytest.mark.parametrize("name", ["zip.bin", "legacy.bin"])
def test_a_state_dict(folder: Path, name: str) -> None:
    model = small_fixture()
    found = values(converted((folder / name).read_bytes(), preconditioning="EDMPrecond"))
    assert found.keys() == model.parameters.keys()
    for key, array in model.parameters.items():
        tolerance = 1e-2 if key in HALVES else 0.0
        np.testing.assert_allclose(found[key], array, rtol=tolerance, atol=1e-6, err_msg=key)
