"""Parity fixtures (tests/data/reference/README.md): reading, checking, making."""

from __future__ import annotations

import itertools
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skipstream_files

from reference_unet.parameters import Array, Parameters
from reference_unet.preconditioning import Preconditioning
from reference_unet.unet import Config, forward, num_skips

DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}


@dataclass
class Denoiser:
    parameters: Parameters
    preconditioning: Preconditioning
    config: Config

    def __call__(self, x: Array, sigma: Array, classes: Array, rho: Array) -> Array:
        coefficients = self.preconditioning.coefficients(sigma)
        c_skip, c_out, c_in = (c[:, None, None, None] for c in coefficients[:3])
        label_dim = self.config.get("label_dim", 0)
        labels = np.eye(label_dim)[classes] if label_dim else None
        channels = self.config["img_channels"]
        f = forward(
            self.parameters, self.config, c_in * x, coefficients[3], labels, rho,
            channels * self.preconditioning.outputs_per_channel,
        )  # fmt: skip
        return np.asarray(c_skip * x + c_out * f[:, :channels])

    def heun(self, latents: Array, levels: Array, classes: Array, rho: Array) -> Array:
        """Deterministic Heun (EDM, Algorithm 1); `levels` end with 0."""

        def slope(x: Array, t: float) -> Array:
            sigma = np.full(len(x), t)
            return np.asarray((x - self(x, sigma, classes, rho)) / t)

        x: Array = latents * levels[0]
        for t, t_next in itertools.pairwise(levels):
            first = slope(x, t)
            moved = x + (t_next - t) * first
            if t_next > 0:
                moved = x + (t_next - t) * (first + slope(moved, t_next)) / 2
            x = np.asarray(moved)
        return x

    def outputs(self, io: dict[str, Any], trajectories: bool) -> dict[str, Array]:
        """Tensors of a fixture with these inputs, with or without the Heun trajectories."""
        rho = io["rho_linear"]
        result = {}
        for suffix, scale in (("plain", np.ones_like(rho)), ("skip_tuned", rho)):
            result[f"denoised_{suffix}"] = self(io["x"], io["sigma"], io["class"], scale)
            if trajectories:
                result[f"heun6_{suffix}"] = self.heun(
                    io["latents"], io["heun6_sigmas"], io["class"], scale
                )
        return result


def relative_error(actual: Array, expected: Array) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def check(path: Path, trajectories: bool = True) -> dict[str, float]:
    """The relative error of the tensors the fixture states; its trajectories cost the most."""
    metadata, tensors = read(path)
    config = json.loads(metadata["config"])
    parameters = {k.removeprefix("param."): v for k, v in tensors.items() if k.startswith("param.")}
    io = {k.removeprefix("io."): v for k, v in tensors.items() if k.startswith("io.")}
    preconditioning = Preconditioning(metadata["preconditioning"], config)
    denoiser = Denoiser(Parameters(parameters), preconditioning, config)
    computed = denoiser.outputs(io, trajectories)
    return {name: relative_error(value, io[name]) for name, value in computed.items()}


def make(preconditioning_name: str, config: Config, seed: int, path: Path) -> None:
    """Writes a fixture of a network with random weights."""
    generator = np.random.default_rng(seed)
    preconditioning = Preconditioning(preconditioning_name, config)
    low, high = preconditioning.limits
    batch, skips = 3, num_skips(config)
    shape = (batch, config["img_channels"], config["img_resolution"], config["img_resolution"])

    def drawn(*dimensions: int) -> Array:
        return generator.standard_normal(dimensions).astype(np.float32).astype(np.float64)

    def single(values: Array) -> Array:
        return values.astype(np.float32).astype(np.float64)

    sigma = single(preconditioning.rounded(np.clip([0.05, 1.3, 30.0], low, high)))
    smallest, largest = max(0.002, low), min(80.0, high)
    karras = np.linspace(largest ** (1 / 7), smallest ** (1 / 7), 6) ** 7
    levels = preconditioning.rounded(np.clip(karras, smallest, largest))
    ends = generator.uniform(0.5, 1.5, (batch, 2))
    io: dict[str, Any] = {
        "x": single((0.5 + sigma[:, None, None, None]) * drawn(*shape)),
        "sigma": sigma,
        "class": generator.integers(0, max(1, config.get("label_dim", 0)), batch),
        "rho_linear": single(np.linspace(ends[:, 0], ends[:, 1], skips, axis=1)),
        "latents": drawn(*shape),
        "heun6_sigmas": np.append(levels, 0.0),
    }
    parameters = Parameters({}, generator)
    if preconditioning_name == "iDDPMPrecond":
        parameters.constant("u", preconditioning.levels())
    io |= Denoiser(parameters, preconditioning, config).outputs(io, trajectories=True)

    dtypes = {
        "class": "I64",
        "heun6_sigmas": "F64",
        "heun6_plain": "F64",
        "heun6_skip_tuned": "F64",
    }
    tensors = {f"io.{k}": (dtypes.get(k, "F32"), v) for k, v in io.items()}
    tensors |= {f"param.{k}": ("F32", v) for k, v in parameters.values.items()}
    metadata = {
        "preconditioning": preconditioning_name,
        "config": json.dumps(config),
        "num_skips": str(skips),
        "sigma_min": str(low),
        "sigma_max": str(high),
    }
    write(path, metadata, tensors)


def read(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Metadata and tensors; floats as float64."""
    contents = path.read_bytes()
    start = 8 + struct.unpack("<Q", contents[:8])[0]
    header = json.loads(contents[8:start])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        values = np.frombuffer(contents[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = values if entry["dtype"] == "I64" else values.astype(np.float64)
    return metadata, tensors


def write(path: Path, metadata: dict[str, str], tensors: dict[str, tuple[str, Any]]) -> None:
    header: dict[str, Any] = {"__metadata__": metadata}
    data = b""
    for name, (dtype, values) in sorted(tensors.items()):
        piece = np.ascontiguousarray(values, dtype=DTYPES[dtype]).tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(np.shape(values)),
            "data_offsets": [len(data), len(data) + len(piece)],
        }
        data += piece
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    skipstream_files.write(path, struct.pack("<Q", len(text)) + text + data)
