"""Images composed of the pixel-art parts in data/nouns.

A combination is five indexes, one part of each layer, in the order they are drawn (LAYERS). Parts
are sorted by file name within their layer, so an index means the same part on every machine. The
class of an image is the name of its head.

    parts = nouns.load()
    combinations = parts.draw(np.random.default_rng(1), 64, parts.heads_of(nouns.classes()))
    images = parts.compose(combinations)        # uint8 [64, 32, 32, 3], RGB
    parts.describe(combinations[0])               # {"background": "cool", ..., "head": "owl", ...}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "data" / "nouns"
SIZE = 32
LAYERS = ("background", "body", "accessory", "head", "glasses")
HEAD = LAYERS.index("head")

# Folder and file name prefix of each layer.
_PLACES = (
    ("0-backgrounds", "bg-"),
    ("1-bodies", "body-"),
    ("2-accessories", "accessory-"),
    ("3-heads", "head-"),
    ("4-glasses", "glasses-"),
)

Combinations = NDArray[np.int64]  # [N, 5], one index per layer
Pictures = NDArray[np.uint8]  # [N, 32, 32, 3], RGB


@dataclass(frozen=True)
class Parts:
    """All parts, in memory (1.7 MB). Safe to share between threads: nothing changes it."""

    # Per layer: file names without prefix and suffix.
    names: tuple[tuple[str, ...], ...]
    # Per layer: [parts, 32, 32, 3] RGB, and [parts, 32, 32] true where the part hides those below.
    # Elsewhere its colour means nothing.
    colors: tuple[NDArray[np.uint8], ...]
    covers: tuple[NDArray[np.bool_], ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of parts of each layer."""
        return tuple(len(names) for names in self.names)

    def index(self, layer: str, name: str) -> int:
        """Raises KeyError, which names what is unknown."""
        try:
            return self.names[LAYERS.index(layer)].index(name)
        except ValueError:
            raise KeyError(f"there is no {layer} named {name!r}") from None

    def heads_of(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """The head index of each class; raises KeyError for a class that is no head."""
        return np.array([self.index("head", name) for name in classes], dtype=np.int64)

    def draw(
        self,
        generator: np.random.Generator,
        count: int,
        heads: NDArray[np.int64] | None = None,
    ) -> Combinations:
        """Independent combinations, each layer uniform; heads only from `heads` if given.

        Takes one array of every layer from the generator, in the order of LAYERS.
        """
        columns = []
        for layer, parts in enumerate(self.counts):
            if layer == HEAD and heads is not None:
                columns.append(heads[generator.integers(len(heads), size=count)])
            else:
                columns.append(generator.integers(parts, size=count))
        return np.stack(columns, axis=1)

    def compose(self, combinations: Combinations) -> Pictures:
        """The images of these combinations [N, 5]; raises IndexError for a part out of range."""
        if combinations.ndim != 2 or combinations.shape[1] != len(LAYERS):
            raise ValueError(f"combinations must be [N, {len(LAYERS)}], not {combinations.shape}")
        if (combinations < 0).any() or (combinations >= self.counts).any():
            raise IndexError("a combination names a part that its layer does not have")
        pictures = self.colors[0][combinations[:, 0]]
        for layer in range(1, len(LAYERS)):
            part = combinations[:, layer]
            np.copyto(pictures, self.colors[layer][part], where=self.covers[layer][part][..., None])
        return pictures

    def describe(self, combination: NDArray[np.int64]) -> dict[str, str]:
        """The part names of one combination [5] by layer."""
        return {
            layer: self.names[i][int(part)]
            for i, (layer, part) in enumerate(zip(LAYERS, combination, strict=True))
        }


def load(folder: Path = FOLDER) -> Parts:
    """Reads every part; raises ValueError, naming the file, if one is not as expected here."""
    names, colors, covers = [], [], []
    for place, prefix in _PLACES:
        files = sorted((folder / place).glob("*.png"))
        if not files:
            raise ValueError(f"{folder / place} holds no parts")
        pixels = np.stack([_read(file) for file in files])
        names.append(tuple(file.stem.removeprefix(prefix) for file in files))
        colors.append(np.ascontiguousarray(pixels[..., :3]))
        covers.append(pixels[..., 3] == 255)
    if not covers[0].all():
        raise ValueError(f"a background in {folder / _PLACES[0][0]} is transparent somewhere")
    return Parts(tuple(names), tuple(colors), tuple(covers))


def classes(folder: Path = FOLDER) -> list[str]:
    """The heads that the default model knows, in the order of its classes."""
    return (folder / "classes.txt").read_text().split()


def _read(file: Path) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGBA"))
    if pixels.shape != (SIZE, SIZE, 4):
        raise ValueError(f"{file}: must be {SIZE}x{SIZE}, not {pixels.shape[1]}x{pixels.shape[0]}")
    # So that composing is a choice of pixels, with nothing to round.
    if not np.isin(pixels[..., 3], (0, 255)).all():
        raise ValueError(f"{file}: every pixel must be opaque or fully transparent")
    return pixels
