"""A configuration from the names and shapes of EDM parameters: a state_dict does not say it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from skipstream_convert.config import MAX_FILTER_TAP, MAX_FILTER_TAPS
from skipstream_convert.errors import ConvertError, listed
from skipstream_convert.tensors import Tensor

_LAYER = re.compile(r"model\.(enc|dec)\.(\d{1,4})x(\d{1,4})_(\w{1,32})\.(.+)")
_BLOCK = re.compile(r"block(\d{1,2})")


def derive_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Values that shapes decide. The caller proves it: parameters() must give these tensors."""
    layers = _layers(tensors)
    resolutions = sorted({r for half, r, _ in layers if half == "enc"}, reverse=True)
    if not resolutions or ("enc", resolutions[0], "conv") not in layers:
        raise ConvertError(
            "no layer model.enc.RxR_conv: these are not the parameters of an EDM network"
        )
    song = ("dec", resolutions[0], "aux_norm") in layers
    enc_conv = _shape(tensors, f"model.enc.{resolutions[0]}x{resolutions[0]}_conv.weight", 4)
    layer0 = _shape(tensors, "model.map_layer0.weight", 2)
    width = enc_conv[0] if song else layer0[1]
    if width == 0:
        raise ConvertError("model.map_layer0.weight is empty")
    config: dict[str, Any] = {
        "model_type": "SongUNet" if song else "DhariwalUNet",
        "img_resolution": resolutions[0],
        "img_channels": enc_conv[1],
        "model_channels": width,
        "channel_mult_emb": _quotient(layer0[0], width, "model.map_layer0.weight"),
        "channel_mult": [
            _quotient(_shape(tensors, name, 4)[0], width, name)
            for name in (f"model.enc.{r}x{r}_block0.conv1.weight" for r in resolutions)
        ],
        "num_blocks": _num_blocks(layers, resolutions),
        "attn_resolutions": [
            r for r in resolutions if f"model.enc.{r}x{r}_block0.qkv.weight" in tensors
        ],
    }
    for key, layer in (("label_dim", "map_label"), ("augment_dim", "map_augment")):
        name = f"model.{layer}.weight"
        if name in tensors:
            config[key] = _shape(tensors, name, 2)[1]
    if song:
        config |= _song_config(tensors, layers, resolutions)
        config["channel_mult_noise"] = _quotient(layer0[1], width, "model.map_layer0.weight")
    return config


_Layers = frozenset[tuple[str, int, str]]


def _layers(tensors: Mapping[str, Tensor]) -> _Layers:
    layers = set()
    for name in tensors:
        match = _LAYER.fullmatch(name)
        if match and match[2] == match[3]:
            layers.add((match[1], int(match[2]), match[4]))
    return frozenset(layers)


def _song_config(
    tensors: Mapping[str, Tensor], layers: _Layers, resolutions: list[int]
) -> dict[str, Any]:
    kinds = {layer for half, _, layer in layers if half == "enc"}
    encoder = "standard"
    if "aux_residual" in kinds:
        encoder = "residual"
    elif "aux_skip" in kinds:
        encoder = "skip"
    decoders = [r for r in resolutions if ("dec", r, "aux_norm") in layers]
    config: dict[str, Any] = {
        "embedding_type": "fourier" if "model.map_noise.freqs" in tensors else "positional",
        "encoder_type": encoder,
        "decoder_type": "skip" if len(decoders) > 1 else "standard",
    }
    for name, tensor in tensors.items():
        if name.endswith(".resample_filter"):
            config["resample_filter"] = _taps(name, tensor)
            break
    return config


def _taps(name: str, tensor: Tensor) -> list[int] | list[float]:
    """The 1-D filter f of a kernel f f^T / (sum f)^2: as small integers where it has them, else
    with sum 1. The caller compares what f gives with the kernel."""
    size = tensor.size
    if len(size) != 4 or size[:2] != (1, 1) or size[2] != size[3] or size[3] > MAX_FILTER_TAPS:
        raise ConvertError(f"{name} is not a square kernel of at most {MAX_FILTER_TAPS} taps")
    row = tensor.float32(name)[0, 0].sum(axis=0, dtype=np.float64)
    magnitudes = np.abs(row[row != 0])
    if magnitudes.size == 0:
        raise ConvertError(f"{name} is empty")
    taps = row / magnitudes.min()
    rounded = np.rint(taps)
    if np.abs(rounded).max() <= MAX_FILTER_TAP and np.abs(taps - rounded).max() <= 1e-4:
        return [int(tap) for tap in rounded]
    return [float(tap) for tap in row]


def _shape(tensors: Mapping[str, Tensor], name: str, rank: int) -> tuple[int, ...]:
    tensor = tensors.get(name)
    if tensor is None:
        raise ConvertError(f"tensor {name} is missing")
    if len(tensor.size) != rank:
        raise ConvertError(f"tensor {name} has {len(tensor.size)} dimensions, not {rank}")
    return tensor.size


def _quotient(value: int, unit: int, name: str) -> int:
    if value % unit:
        raise ConvertError(f"tensor {name}: {value} channels are no multiple of {unit}")
    return value // unit


def _num_blocks(layers: _Layers, resolutions: list[int]) -> int:
    blocks = Counter(r for half, r, layer in layers if half == "enc" and _BLOCK.fullmatch(layer))
    counts = {blocks[resolution] for resolution in resolutions}
    if len(counts) != 1:
        raise ConvertError(
            "the encoder levels have different numbers of blocks: "
            f"{listed(map(str, sorted(counts)))}"
        )
    return counts.pop()
