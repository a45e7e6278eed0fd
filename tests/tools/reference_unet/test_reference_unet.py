"""The reference networks agree with what the published ones computed, and with themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference_unet.__main__ import REFERENCE, VARIANTS
from reference_unet.fixtures import check, make, read

TOLERANCE = 2e-5
PUBLISHED = ["ddpmpp-edm", "ddpmpp-vp", "ncsnpp-ve", "adm-edm"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_agrees_with_the_published_network(name: str) -> None:
    errors = check(REFERENCE / f"{name}.safetensors", trajectories=False)
    assert len(errors) == 2
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("name", VARIANTS)
def test_the_fixtures_are_what_the_reference_makes(name: str, tmp_path: Path) -> None:
    seed = list(VARIANTS).index(name)
    make(*VARIANTS[name], seed, tmp_path / "made")
    metadata, tensors = read(REFERENCE / f"{name}.safetensors")
    made_metadata, made = read(tmp_path / "made")
    assert made_metadata == metadata
    assert made.keys() == tensors.keys()
    for key, value in made.items():
        np.testing.assert_allclose(value, tensors[key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_another_weight_gives_another_result(tmp_path: Path) -> None:
    name = "variant-song-ve-skip"
    contents = bytearray((REFERENCE / f"{name}.safetensors").read_bytes())
    contents[-2] ^= 0x40  # of the last parameter: beside the sign and the top of the exponent
    path = tmp_path / "spoilt"
    path.write_bytes(contents)
    assert min(check(path, trajectories=False).values()) > TOLERANCE
