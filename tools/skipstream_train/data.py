"""The training data: batches of images with their classes, drawn anew for every step."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from skipstream_data import nouns
from torch import Tensor

from skipstream_train.config import Config
from skipstream_train.errors import TrainError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}


class Data(Protocol):
    classes: list[str]

    def batch(self, generator: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """uint8 images [count, C, H, W] and classes int64 [count], on the data's device."""


def open_data(config: Config, device: torch.device) -> Data:
    if config.data.kind == "nouns":
        return NounsData(device)
    return FolderData(
        Path(config.data.folder),
        config.model.resolution,
        config.model.channels,
        config.data.mirror,
        device,
    )


class NounsData:
    """Images composed of parts where they are needed; skipstream_data.nouns on any device."""

    def __init__(self, device: torch.device) -> None:
        self._parts = nouns.load()
        self._device = device
        self.classes = nouns.classes()
        self._heads = self._parts.heads_of(self.classes)
        class_of = np.full(self._parts.counts[nouns.HEAD], -1)
        class_of[self._heads] = np.arange(len(self.classes))
        self._class_of = torch.from_numpy(class_of).to(device)
        self._colors = [
            torch.from_numpy(colors).permute(0, 3, 1, 2).contiguous().to(device)
            for colors in self._parts.colors
        ]
        self._covers = [torch.from_numpy(covers).to(device) for covers in self._parts.covers]

    def batch(self, generator: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        drawn = torch.from_numpy(self._parts.draw(generator, count, self._heads))
        combinations = drawn.to(self._device)
        pictures = self._colors[0][combinations[:, 0]]
        for layer in range(1, len(nouns.LAYERS)):
            part = combinations[:, layer]
            covers = self._covers[layer][part][:, None]
            pictures = torch.where(covers, self._colors[layer][part], pictures)
        return pictures, self._class_of[combinations[:, nouns.HEAD]]


class FolderData:
    """A folder with one sub-folder of images per class; all of them in memory, as bytes.

    The class is the name of the sub-folder; they are sorted. Images are cut to the square in
    their middle and resized (Lanczos) to the resolution; transparency is put on white. Every
    image is as likely as any other, so a class with more of them is seen more often.
    """

    def __init__(
        self, folder: Path, resolution: int, channels: int, mirror: bool, device: torch.device
    ) -> None:
        if not folder.is_dir():
            raise TrainError(f"data.folder: {folder} is not a folder")
        places = sorted(path for path in folder.iterdir() if path.is_dir())
        if not places:
            raise TrainError(f"data.folder: {folder} has no sub-folder; one per class is needed")
        self.classes = [place.name for place in places]
        pictures, labels = [], []
        for label, place in enumerate(places):
            files = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not files:
                raise TrainError(f"data.folder: {place} holds no images")
            pictures += [_read(file, resolution, channels) for file in files]
            labels += [label] * len(files)
        self._pictures = torch.from_numpy(np.stack(pictures)).to(device)
        self._labels = torch.tensor(labels).to(device)
        self._mirror = mirror

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, generator: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(generator.integers(len(self), size=count))
        index = index.to(self._labels.device)
        pictures = self._pictures[index]
        if self._mirror:
            mirrored = torch.from_numpy(generator.random(count) < 0.5).to(pictures.device)
            pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        return pictures, self._labels[index]


def _read(file: Path, resolution: int, channels: int) -> np.ndarray:
    try:
        with Image.open(file) as image:
            picture: Image.Image = image.convert("RGBA")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise TrainError(f"data.folder: {file}: {error}") from None
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # Not resize(box=...), which lets pixels outside the box bleed in.
    picture = picture.crop((left, top, left + side, top + side))
    picture = picture.convert("RGB" if channels == 3 else "L")
    picture = picture.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(picture).reshape(resolution, resolution, channels).transpose(2, 0, 1)
