"""The TOML file that says what to train; docs/training.md lists its keys.

Strict: an unknown key, a missing one or a value out of range is an error that names the key.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipstream_files import load_toml

from skipstream_train.errors import TrainError
from skipstream_train.unet import num_groups


@dataclass(frozen=True)
class ModelConfig:
    resolution: int
    model_channels: int
    channel_mult: tuple[int, ...]
    num_blocks: int
    attn_resolutions: tuple[int, ...]
    channels: int = 3
    dropout: float = 0.0
    sigma_data: float = 0.5


@dataclass(frozen=True)
class DataConfig:
    kind: str  # "nouns" or "folder"
    folder: str = ""  # of kind folder: one sub-folder of images per class
    mirror: bool = False  # of kind folder: flips half of the images left to right


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that is counted is counted in images, so that the batch can change alone."""

    images: int  # where this run ends
    batch: int
    learning_rate: float
    micro_batch: int = 0  # images through the network at a time; 0: what suits the device
    warmup_images: int = 100_000
    cooldown_images: int = 0  # the learning rate falls to 0 over the last ones
    ema_half_life: int = 500_000
    ema_ramp_up: float = 0.05  # the half-life is at most this share of the images seen
    label_dropout: float = 0.1
    gradient_clip: float = 1.0  # largest norm of the gradient
    p_mean: float = -1.2  # of log sigma
    p_std: float = 1.2
    precision: str = "bfloat16"
    seed: int = 1


@dataclass(frozen=True)
class OutputConfig:
    log_images: int = 20_000  # between lines of the log
    checkpoint_seconds: float = 600.0
    license: str = ""


@dataclass(frozen=True)
class Config:
    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    output: OutputConfig

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


# Options that a resumed run may change: its end and its costs, not its result.
CHANGEABLE = {"training.images", "training.cooldown_images", "training.micro_batch"}


def load(path: Path) -> Config:
    try:
        return parse(load_toml(path), path.parent)
    except tomllib.TOMLDecodeError as error:
        raise TrainError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise TrainError(f"{path}: must be UTF-8 text") from None
    except TrainError as error:
        raise TrainError(f"{path}: {error}") from None


def parse(text: dict[str, Any], base: Path) -> Config:
    """`base`: what a relative data.folder is relative to."""
    sections = {
        "model": ModelConfig,
        "data": DataConfig,
        "training": TrainingConfig,
        "output": OutputConfig,
    }
    for name in text:
        if name not in sections:
            raise TrainError(f"unknown section [{name}]; there are {', '.join(sections)}")
    values = {name: _section(name, kind, text.get(name, {})) for name, kind in sections.items()}
    config = Config(**values)
    _check(config)
    if config.data.folder:
        folder = str((base / config.data.folder).resolve())
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, folder=folder))
    return config


def difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first key in which two configurations differ though a resumed run may not change it."""
    for section in ("model", "data", "training"):
        for key in sorted(set(old[section]) | set(new[section])):
            name = f"{section}.{key}"
            if name not in CHANGEABLE and old[section].get(key) != new[section].get(key):
                return name
    return None


def _section(name: str, kind: Any, text: Any) -> Any:
    if not isinstance(text, dict):
        raise TrainError(f"[{name}] must be a section")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in text:
        if key not in fields:
            raise TrainError(f"unknown key {name}.{key}; there are {', '.join(fields)}")
    values = {}
    for key, field in fields.items():
        if key in text:
            values[key] = _value(f"{name}.{key}", str(field.type), text[key])
        elif field.default is dataclasses.MISSING:
            raise TrainError(f"{name}.{key} is missing")
    return kind(**values)


def _value(name: str, kind: str, value: Any) -> Any:
    if kind == "int" and type(value) is int:
        return value
    if kind == "float" and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    is_list = kind.startswith("tuple") and isinstance(value, list)
    if is_list and all(type(item) is int for item in value):
        return tuple(value)
    wanted = {
        "int": "a whole number",
        "float": "a number",
        "str": "a text",
        "bool": "true or false",
    }
    raise TrainError(f"{name} must be {wanted.get(kind, 'a list of whole numbers')}")


def _check(config: Config) -> None:
    def check(key: str, right: bool, must: str) -> None:
        if not right:
            raise TrainError(f"{key} {must}")

    def between(section: str, key: str, low: float, high: float) -> None:
        value = getattr(getattr(config, section), key)
        check(f"{section}.{key}", low <= value <= high, f"must be from {low:g} to {high:g}")

    m, t = config.model, config.training
    between("model", "resolution", 1, 1024)
    check("model.channels", m.channels in (1, 3), "must be 1 or 3")
    between("model", "model_channels", 4, 4096)
    check("model.model_channels", m.model_channels % 2 == 0, "must be even")
    check("model.channel_mult", len(m.channel_mult) > 0, "must not be empty")
    check("model.channel_mult", all(1 <= i <= 64 for i in m.channel_mult), "must be from 1 to 64")
    divisor = 1 << (len(m.channel_mult) - 1)
    check(
        "model.resolution", m.resolution % divisor == 0,
        f"must be divisible by {divisor}: once by 2 per level after the first",
    )  # fmt: skip
    for channels in _widths(m):
        check(
            "model.model_channels", channels % num_groups(channels) == 0,
            f"gives a layer {channels} channels, which do not split into {num_groups(channels)} "
            "groups",
        )  # fmt: skip
    between("model", "num_blocks", 1, 64)
    sizes = [m.resolution >> level for level in range(len(m.channel_mult))]
    check(
        "model.attn_resolutions", set(m.attn_resolutions) <= set(sizes),
        f"must be among {', '.join(map(str, sizes))}",
    )  # fmt: skip
    between("model", "dropout", 0, 0.99)
    between("model", "sigma_data", 0.01, 100)
    check("data.kind", config.data.kind in ("nouns", "folder"), 'must be "nouns" or "folder"')
    if config.data.kind == "nouns":
        check("data.folder", not config.data.folder, 'is for data.kind = "folder"')
        check("data.mirror", not config.data.mirror, 'is for data.kind = "folder"')
        check("model.resolution", m.resolution == 32, 'must be 32 for data.kind = "nouns"')
        check("model.channels", m.channels == 3, 'must be 3 for data.kind = "nouns"')
    else:
        check("data.folder", bool(config.data.folder), 'is missing, for data.kind = "folder"')
    between("training", "images", 1, 1e12)
    between("training", "batch", 1, 1 << 16)
    between("training", "micro_batch", 0, t.batch)
    divides = t.micro_batch == 0 or t.batch % t.micro_batch == 0
    check("training.micro_batch", divides, "must divide training.batch")
    between("training", "learning_rate", 1e-8, 1)
    between("training", "warmup_images", 0, 1e12)
    between("training", "cooldown_images", 0, t.images)
    between("training", "ema_half_life", 0, 1e12)
    between("training", "ema_ramp_up", 0.001, 1)
    between("training", "label_dropout", 0, 0.99)
    between("training", "gradient_clip", 1e-6, 1e6)
    between("training", "p_mean", -10, 10)
    between("training", "p_std", 0.01, 10)
    precisions = ("bfloat16", "float32")
    check("training.precision", t.precision in precisions, f"must be {' or '.join(precisions)}")
    between("training", "seed", 0, 2**32 - 1)
    between("output", "log_images", 1, 1e12)
    between("output", "checkpoint_seconds", 0.0, 1e6)


def _widths(m: ModelConfig) -> set[int]:
    """The channels of every input of a group norm."""
    widths, skips = {m.model_channels}, [m.model_channels]
    channels = m.model_channels
    for level, mult in enumerate(m.channel_mult):
        if level:
            skips.append(channels)
        channels = m.model_channels * mult
        skips += [channels] * m.num_blocks
        widths.add(channels)
    for mult in reversed(m.channel_mult):
        for _ in range(m.num_blocks + 1):
            widths.add(channels + skips.pop())
            channels = m.model_channels * mult
    return widths
