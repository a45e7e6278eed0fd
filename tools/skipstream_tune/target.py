"""The target of tuning: the features of reference images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from skipstream import ModelInfo
from skipstream_data import nouns
from skipstream_quality.encoders import Encoder, Images, PartsEncoder, TextureEncoder
from skipstream_quality.errors import QualityError
from skipstream_quality.frechet import Gaussian, distance
from skipstream_quality.progress import Progress
from skipstream_quality.service import Service
from skipstream_quality.settings import Setting

PARTS = "parts"
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
# Fewer images than this say little about a distribution.
_FEWEST = 64
_BLOCK = 512
# Runs of seeds 0 and up are for candidates; the model's own reference must not share their noise.
OWN_SEED = 4000


@dataclass(frozen=True)
class Target:
    """Reference features. `key` says which: distances to another target do not compare."""

    encoder: Encoder
    gaussian: Gaussian
    key: str

    def distance(self, pictures: Images) -> float:
        """Fréchet distance of images [N, H, W, 3] to the reference."""
        return distance(Gaussian.of(self.encoder.features(pictures)), self.gaussian)


def choose_encoder(name: str, info: ModelInfo) -> Encoder:
    """`auto`: the parts classifier for a model that draws the parts, otherwise fixed features."""
    parts = nouns.load()
    is_parts = (info.width, info.height) == (nouns.SIZE, nouns.SIZE) and bool(info.class_names)
    is_parts = is_parts and set(info.class_names) <= set(parts.names[nouns.HEAD])
    if name == "parts" and not is_parts:
        raise QualityError("the parts classifier is for models that draw the parts of data/nouns")
    if name == "parts" or (name == "auto" and is_parts):
        return PartsEncoder.load()
    return TextureEncoder()


def from_folder(folder: Path, info: ModelInfo, encoder: Encoder) -> Target:
    """Every image below a folder, cut to the model's shape and scaled to its size."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _SUFFIXES and f.is_file())
    if len(files) < _FEWEST:
        raise QualityError(
            f"{folder} holds {len(files)} pictures; at least {_FEWEST} are needed, and "
            "a thousand or more are better"
        )
    digest = hashlib.sha256(f"{encoder.name}|{info.width}x{info.height}".encode())
    features = []
    for block in _blocks(files, info):
        digest.update(block.tobytes())
        features.append(encoder.features(block))
    gaussian = Gaussian.of(np.concatenate(features))
    return Target(encoder, gaussian, digest.hexdigest()[:24])


def from_parts(info: ModelInfo, encoder: Encoder, count: int) -> Target:
    """Fresh images composed of the parts, with the heads that the model knows."""
    parts = nouns.load()
    try:
        heads = parts.heads_of(info.class_names)
    except KeyError as error:
        raise QualityError(f"the model does not draw the parts: {error.args[0]}") from error
    generator = np.random.default_rng(0)
    features = []
    for start in range(0, count, _BLOCK):
        combinations = parts.draw(generator, min(_BLOCK, count - start), heads)
        features.append(encoder.features(parts.compose(combinations)))
    key = f"{encoder.name}|parts|{count}|{','.join(info.class_names)}"
    gaussian = Gaussian.of(np.concatenate(features))
    return Target(encoder, gaussian, hashlib.sha256(key.encode()).hexdigest()[:24])


async def from_model(
    service: Service, setting: Setting, count: int, encoder: Encoder, progress: Progress
) -> Target:
    """The model's own images at many evaluations: the best it can do without tuning."""
    progress.begin(f"reference: {setting}")
    run = await service.pictures(setting, OWN_SEED, count, progress.add)
    key = f"{encoder.name}|{service.identity}|{run.folder.name}|{count}"
    gaussian = Gaussian.of(encoder.features(run.pictures))
    return Target(encoder, gaussian, hashlib.sha256(key.encode()).hexdigest()[:24])


def _blocks(files: list[Path], info: ModelInfo) -> Iterator[Images]:
    for start in range(0, len(files), _BLOCK):
        yield np.stack([_read(file, info) for file in files[start : start + _BLOCK]])


def _read(file: Path, info: ModelInfo) -> Images:
    """Cut to the model's shape around the middle; averaged down, or up without smoothing."""
    try:
        with Image.open(file) as image:
            picture = image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise QualityError(f"{file} is no picture: {error}") from error
    scale = min(picture.width / info.width, picture.height / info.height)
    width, height = info.width * scale, info.height * scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    box = (left, top, left + width, top + height)
    how = Image.Resampling.BOX if scale > 1 else Image.Resampling.NEAREST
    return np.asarray(picture.resize((info.width, info.height), how, box=box))
