"""Tests of the training data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CPU, make_pictures
from PIL import Image
from skipstream_data import nouns
from skipstream_train.data import FolderData, NounsData
from skipstream_train.errors import TrainError


def test_nouns_are_composed_as_the_shared_module_composes_them() -> None:
    data = NounsData(CPU)
    pictures, labels = data.batch(np.random.default_rng(5), 60)
    parts = nouns.load()
    drawn = parts.draw(np.random.default_rng(5), 60, parts.heads_of(nouns.classes()))
    np.testing.assert_array_equal(pictures.permute(0, 2, 3, 1).numpy(), parts.compose(drawn))
    names = [data.classes[label] for label in labels]
    assert names == [parts.names[nouns.HEAD][head] for head in drawn[:, nouns.HEAD]]


def test_a_folder_gives_its_pictures_with_the_names_of_their_folders(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path) / "pictures"
    data = FolderData(folder, 8, 3, mirror=False, device=CPU)
    assert data.classes == ["blue", "red"]
    seen = set()
    pictures, labels = data.batch(np.random.default_rng(1), 50)
    for picture, label in zip(pictures, labels, strict=True):
        for i in range(2):
            with Image.open(folder / data.classes[label] / f"{i}.png") as image:
                if np.array_equal(np.asarray(image), picture.permute(1, 2, 0).numpy()):
                    seen.add((int(label), i))
                    break
        else:
            pytest.fail("a picture is not one of its class")
    assert len(seen) == 4


def test_half_of_the_pictures_are_mirrored(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path) / "pictures"
    plain, mirrored = (FolderData(folder, 8, 3, mirror=m, device=CPU) for m in (False, True))
    before, _ = plain.batch(np.random.default_rng(1), 400)
    after, _ = mirrored.batch(np.random.default_rng(1), 400)
    same = (before == after).all(dim=(1, 2, 3))
    flipped = (before.flip(3) == after).all(dim=(1, 2, 3))
    assert bool((same ^ flipped).all())
    assert 140 < int(flipped.sum()) < 260  # six standard deviations


def test_pictures_are_cut_in_the_middle_and_resized(tmp_path: Path) -> None:
    """Red | green | blue thirds of a wide image: only the middle stays."""
    (tmp_path / "one").mkdir()
    pixels = np.zeros((20, 60, 3), dtype=np.uint8)
    for third in range(3):
        pixels[:, 20 * third : 20 * third + 20, third] = 255
    Image.fromarray(pixels).save(tmp_path / "one" / "wide.png")
    data = FolderData(tmp_path, 8, 3, mirror=False, device=CPU)
    pictures, _ = data.batch(np.random.default_rng(0), 1)
    expected = torch.tensor([0, 255, 0], dtype=torch.uint8)[:, None, None].expand(3, 8, 8)
    assert torch.equal(pictures[0], expected)


def test_grey_is_read_as_one_channel_and_transparency_as_white(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "one" / "clear.png")
    data = FolderData(tmp_path, 8, 1, mirror=False, device=CPU)
    pictures, _ = data.batch(np.random.default_rng(0), 2)
    assert pictures.shape == (2, 1, 8, 8)
    assert bool((pictures == 255).all())


def test_a_folder_without_pictures_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"data\.folder: .*nowhere is not a folder"):
        FolderData(tmp_path / "nowhere", 8, 3, mirror=False, device=CPU)
    with pytest.raises(TrainError, match="has no sub-folder"):
        FolderData(tmp_path, 8, 3, mirror=False, device=CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainError, match="empty holds no images"):
        FolderData(tmp_path, 8, 3, mirror=False, device=CPU)
    (tmp_path / "empty" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(TrainError, match=r"torn\.png"):
        FolderData(tmp_path, 8, 3, mirror=False, device=CPU)
