"""Tests of the target of tuning."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skipstream_data import nouns
from skipstream_quality.encoders import PartsEncoder, TextureEncoder
from skipstream_quality.errors import QualityError
from skipstream_tune.target import choose_encoder, from_folder, from_parts


def model(*, size: int = 32, names: tuple[str, ...] = ("owl", "cat")) -> Any:
    return SimpleNamespace(width=size, height=size, class_names=names, num_classes=len(names))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty real images, enlarged, in sub-folders."""
    root = tmp_path_factory.mktemp("pictures")
    parts = nouns.load()
    pictures = parts.compose(parts.draw(np.random.default_rng(8), 80))
    for i, picture in enumerate(pictures):
        place = root / f"{i % 3}"
        place.mkdir(exist_ok=True)
        image = Image.fromarray(picture).resize((96, 96), Image.Resampling.NEAREST)
        image.save(place / f"{i}.png")
    (root / "notes.txt").write_text("not a picture")
    return root


def test_pictures_of_a_folder_are_brought_to_the_size_of_the_model(folder: Path) -> None:
    target = from_folder(folder, model(), PartsEncoder.load())
    parts = nouns.load()
    same = parts.compose(parts.draw(np.random.default_rng(8), 80))
    assert target.gaussian.count == 80
    assert target.distance(same) == pytest.approx(0, abs=1e-3)
    other = parts.compose(parts.draw(np.random.default_rng(9), 80))
    assert target.distance(other) > 1
    assert target.distance(255 - other) > 1.5 * target.distance(other)


def test_wide_pictures_are_cut_and_grey_ones_coloured(tmp_path: Path) -> None:
    # Only what is in the middle counts: the sides are white.
    for i in range(64):
        wide = np.full((32, 64), 255, np.uint8)
        wide[:, 16:48] = i
        Image.fromarray(wide).save(tmp_path / f"{i}.png")
    target = from_folder(tmp_path, model(), TextureEncoder())
    expected = np.stack([np.full((32, 32, 3), i, np.uint8) for i in range(64)])
    assert target.distance(expected) == pytest.approx(0, abs=1e-6)


def test_a_target_is_known_by_what_it_holds(folder: Path, tmp_path: Path) -> None:
    encoder = TextureEncoder()
    key = from_folder(folder, model(), encoder).key
    assert from_folder(folder, model(), encoder).key == key
    assert from_folder(folder, model(size=16), encoder).key != key
    assert from_parts(model(), encoder, 100).key != from_parts(model(), encoder, 200).key


def test_says_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    with pytest.raises(QualityError, match="at least 64"):
        from_folder(tmp_path, model(), TextureEncoder())
    for i in range(64):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(QualityError, match=r"0\.png is no picture"):
        from_folder(tmp_path, model(), TextureEncoder())


def test_models_of_the_parts_get_the_features_made_for_them() -> None:
    assert choose_encoder("auto", model()).name.startswith("parts-")
    assert choose_encoder("texture", model()).name == TextureEncoder.name
    assert choose_encoder("auto", model(names=("dog2",))).name == TextureEncoder.name
    assert choose_encoder("auto", model(size=64)).name == TextureEncoder.name
    with pytest.raises(QualityError, match="parts"):
        choose_encoder("parts", model(size=64))
    with pytest.raises(QualityError, match="dog2"):
        from_parts(model(names=("dog2",)), TextureEncoder(), 64)
