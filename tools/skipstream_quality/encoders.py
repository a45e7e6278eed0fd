"""Features of images, in NumPy: a small classifier of the parts; a fixed encoder for any."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skipstream_quality.errors import QualityError

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]  # [N, H, W, 3], RGB

PARTS_FILE = Path(__file__).resolve().parent / "parts_encoder.safetensors"
# Images per block: what bounds the memory.
_BLOCK = 128


class Encoder(Protocol):
    """Deterministic features: the same on every machine, up to rounding."""

    @property
    def name(self) -> str:
        """Says which features these are; a part of what caches are keyed by."""
        ...

    def features(self, pictures: Images) -> Floats:
        """[N, H, W, 3] in RGB -> [N, D]."""
        ...


class PartsEncoder:
    """The last hidden layer of a classifier trained to name all five parts of an image.

    Four 3x3 convolutions with ReLU, the last three with stride 2, then a dense layer; the features
    are its values after ReLU, scaled to standard deviation 1 over real images. Made by
    `train_encoder`.
    """

    def __init__(self, tensors: Mapping[str, Floats], name: str = "parts") -> None:
        self._name = name
        self._convolutions: list[tuple[Floats, Floats]] = []
        while f"conv{len(self._convolutions)}.weight" in tensors:
            i = len(self._convolutions)
            weight = tensors[f"conv{i}.weight"]  # [out, in, 3, 3]
            matrix = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))  # rows: ky, kx, in
            self._convolutions.append((np.ascontiguousarray(matrix), tensors[f"conv{i}.bias"]))
        self._dense = (np.ascontiguousarray(tensors["dense.weight"].T), tensors["dense.bias"])
        self._scale = tensors["feature_scale"]
        self._heads = {
            key.removeprefix("head.").removesuffix(".weight"): (
                tensors[key].T,
                tensors[key.replace(".weight", ".bias")],
            )
            for key in tensors
            if key.startswith("head.") and key.endswith(".weight")
        }

    @staticmethod
    def load(file: Path = PARTS_FILE) -> PartsEncoder:
        """Raises QualityError if the file is not one of `train_encoder`'s."""
        data = file.read_bytes()
        try:
            tensors = _read_tensors(data)
            return PartsEncoder(tensors, f"parts-{hashlib.sha256(data).hexdigest()[:16]}")
        except (KeyError, ValueError, TypeError, struct.error) as error:
            raise QualityError(f"{file} holds no parts classifier: {error}") from error

    @property
    def name(self) -> str:
        return self._name

    def features(self, pictures: Images) -> Floats:
        return self._hidden(pictures) * self._scale

    def classify(self, pictures: Images) -> dict[str, NDArray[np.int64]]:
        """The most likely part of each layer [N]; what the classifier was trained for."""
        hidden = self._hidden(pictures)
        return {
            layer: (hidden @ weight + bias).argmax(axis=1)
            for layer, (weight, bias) in self._heads.items()
        }

    def _hidden(self, pictures: Images) -> Floats:
        if pictures.ndim != 4 or pictures.shape[1:] != (32, 32, 3):
            raise QualityError(f"the parts classifier takes 32x32 RGB, not {pictures.shape[1:]}")
        blocks = [
            self._block(pictures[i : i + _BLOCK]) for i in range(0, len(pictures), _BLOCK)
        ] or [np.empty((0, len(self._scale)), np.float32)]
        return np.concatenate(blocks)

    def _block(self, pictures: Images) -> Floats:
        x = pictures.astype(np.float32) / np.float32(127.5) - np.float32(1)
        for i, (matrix, bias) in enumerate(self._convolutions):
            x = np.maximum(_patches(x, 3, 1 if i == 0 else 2) @ matrix + bias, 0)
        weight, bias = self._dense
        hidden: Floats = np.maximum(x.reshape(len(x), -1) @ weight + bias, 0)
        return hidden


class TextureEncoder:
    """Fixed random features for images of any kind and size of at least 16x16; nothing is
    learned.

    Colours of a 4x4 grid, and for three scales (1, 1/2, 1/4) the mean strength, over a 2x2 grid, of
    the responses to 8 random 5x5 filters of zero mean. Random convolutions see blur, ringing and
    noise well and meaning badly: good for telling one sampler setting of a model from another,
    which is what tuning needs, not for comparing models.
    """

    name = "texture-1"
    _FILTERS = 8
    _WINDOW = 5
    _SCALES = (1, 2, 4)

    def __init__(self) -> None:
        rows = self._WINDOW * self._WINDOW * 3
        bank = _normal(rows * self._FILTERS * len(self._SCALES), seed=20240215)
        filters = bank.reshape(len(self._SCALES), rows, self._FILTERS)
        filters -= filters.mean(axis=1, keepdims=True)
        self._filters = filters / np.sqrt(np.square(filters).sum(axis=1, keepdims=True))

    def features(self, pictures: Images) -> Floats:
        if pictures.ndim != 4 or pictures.shape[3] != 3 or min(pictures.shape[1:3]) < 16:
            raise QualityError(f"takes RGB pictures of 16x16 or more, not {pictures.shape[1:]}")
        step = max(1, _BLOCK * 32 * 32 // (pictures.shape[1] * pictures.shape[2]))
        blocks = [self._block(pictures[i : i + step]) for i in range(0, len(pictures), step)]
        return np.concatenate(blocks)

    def _block(self, pictures: Images) -> Floats:
        x = pictures.astype(np.float32) / np.float32(127.5) - np.float32(1)
        columns = [_grid_means(x, 4)]
        for scale, filters in zip(self._SCALES, self._filters, strict=True):
            small = _shrink(x, scale)
            responses = np.abs(_patches(small, self._WINDOW, 1) @ filters)
            columns.append(_grid_means(responses, 2))
        return np.concatenate(columns, axis=1)


def _patches(x: Floats, window: int, stride: int) -> Floats:
    """[N, H, W, C] -> [N, H/stride, W/stride, window^2 C], zeros beyond the border."""
    border = window // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (window, window), axis=(1, 2))
    views = views[:, ::stride, ::stride]  # [N, H', W', C, ky, kx]
    n, h, w = views.shape[:3]
    return views.transpose(0, 1, 2, 4, 5, 3).reshape(n, h, w, -1)


def _shrink(x: Floats, factor: int) -> Floats:
    n, h, w, c = x.shape
    h, w = h // factor, w // factor
    cut = x[:, : h * factor, : w * factor].reshape(n, h, factor, w, factor, c)
    means: Floats = cut.mean(axis=(2, 4))
    return means


def _grid_means(x: Floats, cells: int) -> Floats:
    """Means over a grid of cells x cells, [N, cells^2 C]; the first cells take the remainder."""
    rows = np.array_split(np.arange(x.shape[1]), cells)
    columns = np.array_split(np.arange(x.shape[2]), cells)
    means = [
        x[:, row[0] : row[-1] + 1, column[0] : column[-1] + 1].mean(axis=(1, 2))
        for row in rows
        for column in columns
    ]
    return np.concatenate(means, axis=1)


def _normal(count: int, seed: int) -> Floats:
    """Standard normal values by Box-Muller from raw PCG64, which no NumPy release changes."""
    raw = np.random.PCG64(seed).random_raw(2 * count)
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    radius = np.sqrt(-2 * np.log(uniform[:count]))
    values: Floats = (radius * np.cos(2 * np.pi * uniform[count:])).astype(np.float32)
    return values


def _read_tensors(data: bytes) -> dict[str, Floats]:
    """F32 and F16 tensors of a safetensors file, as float32."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    types = {"F32": "<f4", "F16": "<f2"}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + length + begin : 8 + length + end], types[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"]).astype(np.float32)
    return tensors
