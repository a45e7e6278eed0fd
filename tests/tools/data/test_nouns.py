"""Images composed of parts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skipstream_data import nouns


@pytest.fixture(scope="module")
def parts() -> nouns.Parts:
    return nouns.load()


def test_composes_what_drawing_the_files_one_over_the_other_gives(parts: nouns.Parts) -> None:
    combinations = parts.draw(np.random.default_rng(1), 40)
    pictures = parts.compose(combinations)
    assert pictures.shape == (40, 32, 32, 3)
    assert pictures.dtype == np.uint8
    folders = ["0-backgrounds/", "1-bodies/", "2-accessories/", "3-heads/", "4-glasses/"]
    prefixes = ["bg", "body", "accessory", "head", "glasses"]
    for combination, picture in zip(combinations, pictures, strict=True):
        canvas = Image.new("RGBA", (32, 32))
        names = parts.describe(combination).values()
        for folder, prefix, name in zip(folders, prefixes, names, strict=True):
            file = nouns.FOLDER / folder / f"{prefix}-{name}.png"
            # One accessory has no prefix.
            with Image.open(file if file.exists() else file.with_name(f"{name}.png")) as part:
                canvas = Image.alpha_composite(canvas, part.convert("RGBA"))
        np.testing.assert_array_equal(picture, np.asarray(canvas.convert("RGB")))


def test_draws_every_layer_uniformly_and_only_the_heads_asked_for(parts: nouns.Parts) -> None:
    heads = parts.heads_of(["owl", "ape", "pizza"])
    drawn = parts.draw(np.random.default_rng(2), 30_000, heads)
    assert set(drawn[:, nouns.HEAD]) == set(heads)
    for layer, count in enumerate(parts.counts):
        values, times = np.unique(drawn[:, layer], return_counts=True)
        expected = len(heads) if layer == nouns.HEAD else count
        assert len(values) == expected
        # Six standard deviations of a binomial share.
        deviation = np.sqrt(30_000 / expected)
        assert np.abs(times - 30_000 / expected).max() < 6 * deviation


def test_the_same_generator_draws_the_same_combinations(parts: nouns.Parts) -> None:
    first, second = (parts.draw(np.random.default_rng(3), 20) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_every_class_of_the_default_model_is_a_head(parts: nouns.Parts) -> None:
    names = nouns.classes()
    assert len(names) == len(set(names)) == 64
    assert [parts.names[nouns.HEAD][i] for i in parts.heads_of(names)] == names
    with pytest.raises(KeyError, match="no head named 'unknown'"):
        parts.heads_of(["ape", "unknown"])


@pytest.mark.parametrize("part", [-1, 21])
def test_a_part_out_of_range_is_refused(parts: nouns.Parts, part: int) -> None:
    with pytest.raises(IndexError):
        parts.compose(np.array([[0, 0, 0, 0, part]]))


def test_a_half_transparent_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0-backgrounds").mkdir()
    Image.new("RGBA", (32, 32), (1, 2, 3, 128)).save(tmp_path / "0-backgrounds/bg-half.png")
    with pytest.raises(ValueError, match=r"bg-half.png: every pixel"):
        nouns.load(tmp_path)
