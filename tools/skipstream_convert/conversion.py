"""A converted checkpoint, and the checks that end every conversion."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skipstream_convert.errors import ConvertError, listed
from skipstream_convert.model_file import OutputTensor
from skipstream_convert.network import Network, Shape
from skipstream_convert.tensors import Tensor

# Halves double; a file whose tensors need more uses the same bytes for several of them.
_MAX_GROWTH = 2
_SLACK = 64 << 10


@dataclass(frozen=True, slots=True)
class Options:
    """Options that the command line adds to a checkpoint."""

    network: str | None = None
    preconditioning: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    resolution: int | None = None
    qkv_layout: str = "flash"


@dataclass(frozen=True, slots=True)
class Conversion:
    kind: str  # edm, consistency, state_dict
    network: Network
    tensors: Mapping[str, OutputTensor]
    config_origin: str  # where the configuration comes from, in a sentence
    notes: tuple[str, ...] = ()

    @property
    def parameter_count(self) -> int:
        # Fourier frequencies are a buffer: fixed, not trained.
        fixed = "model.map_noise.freqs"
        return sum(tensor.numel for name, tensor in self.tensors.items() if name != fixed)


def select_parameters(network: Network, tensors: Mapping[str, Tensor]) -> dict[str, OutputTensor]:
    """The network's parameters out of `tensors`, which must hold them all and nothing else but the
    constant filters, which are checked and dropped."""
    expected = network.parameters()
    filters = network.filters()
    unexpected = [name for name in tensors if name not in expected and name not in filters]
    check_shapes(expected, {name: tensor.size for name, tensor in tensors.items()}, unexpected)
    for name, kernel in filters.items():
        if name in tensors:
            stored = tensors[name]
            if stored.size != kernel.shape or not np.allclose(stored.float32(name), kernel, 1e-6):
                raise ConvertError(f"tensor {name} is not the filter that the configuration states")
    return {
        name: OutputTensor(expected[name], functools.partial(tensors[name].float32, name))
        for name in expected
    }


def check_shapes(
    expected: Mapping[str, Shape], found: Mapping[str, Shape], unexpected: list[str]
) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise ConvertError(
            f"{len(missing)} tensors of the configuration are missing: {listed(missing)}"
        )
    if unexpected:
        raise ConvertError(
            f"{len(unexpected)} tensors are not of the configuration: {listed(unexpected)}"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise ConvertError(
                f"tensor {name} has shape {list(found[name])}; "
                f"the configuration needs {list(shape)}"
            )


def check_growth(tensors: Mapping[str, OutputTensor], input_bytes: int) -> None:
    output_bytes = 4 * sum(tensor.numel for tensor in tensors.values())
    if output_bytes > _MAX_GROWTH * input_bytes + _SLACK:
        raise ConvertError(
            f"the parameters would take {output_bytes} bytes of a file of {input_bytes}: "
            "several tensors are views of the same bytes"
        )
