"""Small runs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skipstream_train import config as configs
from skipstream_train.config import Config
from skipstream_train.data import Data, open_data
from skipstream_train.training import Trainer

CPU = torch.device("cpu")

SMALL: dict[str, dict[str, Any]] = {
    "model": {
        "resolution": 8,
        "model_channels": 8,
        "channel_mult": [1, 2],
        "num_blocks": 1,
        "attn_resolutions": [4],
    },
    "data": {"kind": "folder", "folder": "pictures"},
    "training": {
        "images": 96,
        "batch": 16,
        "learning_rate": 2e-3,
        "warmup_images": 32,
        "ema_half_life": 200,
        "ema_ramp_up": 1.0,
        "precision": "float32",
    },
    "output": {"log_images": 16, "checkpoint_seconds": 600, "license": "none, a test"},
}


def small(**changes: Any) -> dict[str, dict[str, Any]]:
    """SMALL with `section__key=value` changed; None removes the key."""
    text = copy.deepcopy(SMALL)
    for name, value in changes.items():
        section, key = name.split("__")
        if value is None:
            text[section].pop(key, None)
        else:
            text[section][key] = value
    return text


def make_pictures(folder: Path) -> Path:
    """Two classes of two 8x8 images of noise; returns `folder`."""
    draw = np.random.default_rng(7)
    for name in ("red", "blue"):
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(2):
            pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{i}.png")
    return folder


def small_config(folder: Path, **changes: Any) -> Config:
    return configs.parse(small(**changes), folder)


def trainer_of(config: Config, threads: int = 1) -> Trainer:
    data: Data = open_data(config, CPU)
    return Trainer(config, data, CPU, threads)


def toml(text: dict[str, dict[str, Any]]) -> str:
    lines = []
    for section, values in text.items():
        lines.append(f"[{section}]")
        for key, value in values.items():
            word = str(value).lower() if isinstance(value, bool) else repr(value)
            lines.append(f"{key} = {word}")
    return "\n".join(lines)
