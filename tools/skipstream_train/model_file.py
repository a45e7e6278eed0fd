"""Model files to start from and to export, as model/families/edm_unet/model_file.h wants them."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skipstream_convert.errors import ConvertError
from skipstream_convert.model_file import OutputTensor, write_model_file
from torch import Tensor

from skipstream_train.config import Config
from skipstream_train.errors import TrainError
from skipstream_train.unet import Denoiser, UNetConfig

MAX_HEADER = 16 << 20


@dataclass(frozen=True)
class ModelFile:
    metadata: dict[str, str]
    tensors: dict[str, Tensor]

    @property
    def images_seen(self) -> int:
        text = self.metadata.get("images_seen", "0")
        return int(text) if text.isdigit() else 0


def unet_config(config: Config, num_classes: int) -> UNetConfig:
    m = config.model
    return UNetConfig(
        img_resolution=m.resolution,
        img_channels=m.channels,
        label_dim=num_classes,
        model_channels=m.model_channels,
        channel_mult=m.channel_mult,
        num_blocks=m.num_blocks,
        attn_resolutions=m.attn_resolutions,
        dropout=m.dropout,
    )


def metadata_of(config: Config, classes: list[str], images_seen: int) -> dict[str, str]:
    m = config.model
    network: dict[str, Any] = {
        "model_type": "SongUNet",
        "img_resolution": m.resolution,
        "img_channels": m.channels,
        "label_dim": len(classes),
        "label_dropout": config.training.label_dropout,
        "model_channels": m.model_channels,
        "channel_mult": list(m.channel_mult),
        "num_blocks": m.num_blocks,
        "attn_resolutions": list(m.attn_resolutions),
        "dropout": m.dropout,
        "sigma_data": m.sigma_data,
    }
    metadata = {
        "preconditioning": "EDMPrecond",
        "config": json.dumps(network),
        "classes": json.dumps(classes, ensure_ascii=False),
        "images_seen": str(images_seen),
    }
    if config.output.license:
        metadata["license"] = config.output.license
    return metadata


def read(path: Path) -> ModelFile:
    """Float32 tensors and metadata; raises TrainError for anything that is not a model file."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise TrainError(f"{path}: {error.strerror}") from None
    try:
        (size,) = struct.unpack_from("<Q", contents)
        if size > min(MAX_HEADER, len(contents) - 8):
            raise ValueError
        header = json.loads(contents[8 : 8 + size])
        metadata = header.pop("__metadata__")
        data = memoryview(contents)[8 + size :]
        tensors = {}
        for name, entry in header.items():
            if entry["dtype"] != "F32":
                raise TrainError(f"{path}: tensor {name} is {entry['dtype']}; F32 is needed")
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
            tensors[name] = torch.from_numpy(values.copy())
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise TrainError(f"{path}: not a .safetensors model file") from None
    return ModelFile(metadata, tensors)


def denoiser_of(file: ModelFile) -> Denoiser:
    """The network of a file that `write` or the converter made of a DDPM++, to be evaluated."""
    config = json.loads(file.metadata["config"])
    net = Denoiser(
        UNetConfig(
            config["img_resolution"],
            config["img_channels"],
            config.get("label_dim", 0),
            config["model_channels"],
            tuple(config["channel_mult"]),
            config["num_blocks"],
            tuple(config["attn_resolutions"]),
        ),
        config.get("sigma_data", 0.5),
    )
    net.load_state_dict(file.tensors)
    return net.eval().requires_grad_(False)


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], force: bool) -> None:
    outputs = {
        name: OutputTensor(tuple(tensor.shape), lambda t=tensor: t.cpu().contiguous().numpy())  # type: ignore[misc]
        for name, tensor in tensors.items()
    }
    try:
        write_model_file(path, outputs, metadata, force=force)
    except (ConvertError, OSError) as error:
        raise TrainError(str(error)) from None


def check_start(start: ModelFile, path: Path, config: Config, classes: list[str]) -> None:
    """True if a run can start from this file: the same network for the same classes."""
    wanted = metadata_of(config, classes, 0)
    if start.metadata.get("preconditioning") != wanted["preconditioning"]:
        raise TrainError(f"{path}: preconditioning must be {wanted['preconditioning']}")
    try:
        found = json.loads(start.metadata["config"])
        found_classes = json.loads(start.metadata.get("classes", "null"))
    except (KeyError, ValueError):
        raise TrainError(f"{path}: its metadata has no valid config or classes") from None
    ours = json.loads(wanted["config"])
    defaults = {
        "sigma_data": 0.5, "label_dim": 0, "model_type": "SongUNet", "augment_dim": 0,
        "channel_mult_emb": 4, "channel_mult_noise": 1, "embedding_type": "positional",
        "encoder_type": "standard", "decoder_type": "standard", "resample_filter": [1, 1],
    }  # fmt: skip
    for key in sorted((defaults | ours).keys() - {"dropout", "label_dropout"}):
        a, b = found.get(key, defaults.get(key)), ours.get(key, defaults.get(key))
        if a != b:
            raise TrainError(f"{path}: its {key} is {a}, the configuration's is {b}")
    if found_classes is not None and found_classes != classes:
        raise TrainError(f"{path}: its classes are not those of the data")
