"""consistency-models checkpoints: a state_dict of guided-diffusion's UNet (ADM, arXiv 2105.05233).

The network is EDM's DhariwalUNet under other names. Three things differ in form: a class embedding
[classes, C] is the transpose of a linear layer on one-hot labels; attention is a 1-D or 2-D
convolution; and the channels of its q, k and v come in another order. One differs in value:
guided-diffusion always normalises in 32 groups, EDM in groups of at least 4 channels, so narrow
networks are not the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skipstream_convert.conversion import Conversion, Options, check_shapes
from skipstream_convert.errors import ConvertError, listed
from skipstream_convert.model_file import OutputTensor
from skipstream_convert.network import Network, Shape, make_network
from skipstream_convert.state_dict import CONSISTENCY_LANDMARK, find_tensors
from skipstream_convert.tensors import FloatArray, Tensor

QKV_LAYOUTS = ("flash", "legacy")

_HEAD_CHANNELS = 64
_LEAST_NORM_CHANNELS = 128  # 32 groups of 4
_MAX_BLOCKS = 512

# Published with the method (arXiv 2303.01469, Appendix C).
_DEFAULT_CONSTANTS = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}

_RESIDUAL = {
    "norm0": "in_layers.0",
    "conv0": "in_layers.2",
    "affine": "emb_layers.1",
    "norm1": "out_layers.0",
    "conv1": "out_layers.3",
    "skip": "skip_connection",
}
_ATTENTION = {"norm2": "norm", "qkv": "qkv", "proj": "proj_out"}


def convert_consistency(root: Any, options: Options) -> Conversion:
    if options.qkv_layout not in QKV_LAYOUTS:
        raise ConvertError(f"--qkv_layout takes one of: {listed(QKV_LAYOUTS)}")
    if options.resolution is None:
        raise ConvertError(
            "the file does not say its image size; --resolution takes it "
            "(the published models: 64 for ImageNet-64, 256 for LSUN)"
        )
    source, others = find_tensors(root, CONSISTENCY_LANDMARK, options.network)
    form = _Form.of(source)
    preconditioning = options.preconditioning or "CMPrecond"
    constants = _DEFAULT_CONSTANTS if preconditioning == "CMPrecond" else {}
    network = make_network(
        preconditioning,
        {**constants, **_derive_config(source, form, options.resolution), **options.config},
    )
    tensors = _Renaming(source, network, form, options.qkv_layout).run()
    origin = "derived from names and shapes, with --resolution"
    if options.config:
        origin += f" and --config {', '.join(options.config)}"
    if constants:
        origin += "; sigma_min, sigma_max and sigma_data as published unless given"
    notes = [f"attention channels taken in the {options.qkv_layout} order, 64 to a head"]
    if others:
        notes.append(f"left out {others} tensors beside the network")
    return Conversion("consistency", network, tensors, origin, tuple(notes))


def _size(source: Mapping[str, Tensor], name: str, rank: int) -> Shape:
    tensor = source.get(name)
    if tensor is None:
        raise ConvertError(f"tensor {name} is missing")
    if len(tensor.size) != rank or 0 in tensor.size:
        raise ConvertError(f"tensor {name} has shape {list(tensor.size)}, not {rank} dimensions")
    return tensor.size


@dataclass(frozen=True, slots=True)
class _Form:
    """Levels and blocks a level. Both halves list levels * (blocks + 1) entries; in the second, the
    last entry of every level but the last ends in a residual block that upsamples."""

    levels: int
    blocks: int

    @staticmethod
    def of(source: Mapping[str, Tensor]) -> _Form:
        inputs = _entries(source, "input_blocks")
        outputs = _entries(source, "output_blocks")
        if any(re.fullmatch(r"input_blocks\.\d+\.0\.op\.weight", name) for name in source):
            raise ConvertError(
                "downsamples by a strided convolution; EDM's network cannot express it"
            )
        ups = [
            j
            for j in range(outputs)
            if any(f"output_blocks.{j}.{item}.in_layers.0.weight" in source for item in (1, 2))
        ]
        levels = len(ups) + 1
        if inputs != outputs or inputs % levels or inputs // levels < 2:
            raise ConvertError(
                f"{inputs} input and {outputs} output blocks with {len(ups)} that upsample: "
                "not the form of a guided-diffusion network with residual resampling"
            )
        blocks = inputs // levels - 1
        if ups != [level * (blocks + 1) + blocks for level in range(levels - 1)]:
            raise ConvertError("the blocks that upsample do not end the levels")
        return _Form(levels, blocks)


def _entries(source: Mapping[str, Tensor], half: str) -> int:
    indices = {
        int(match[1]) for name in source if (match := re.match(rf"{half}\.(\d{{1,4}})\.", name))
    }
    if len(indices) > _MAX_BLOCKS or indices != set(range(len(indices))):
        raise ConvertError(f"{half} are not numbered from 0 without gaps")
    return len(indices)


def _derive_config(source: Mapping[str, Tensor], form: _Form, resolution: int) -> dict[str, Any]:
    embedding, width = _size(source, "time_embed.0.weight", 2)
    image = _size(source, "input_blocks.0.0.weight", 4)
    if embedding % width:
        raise ConvertError("time_embed.0.weight: the embedding is no multiple of the model's width")
    multipliers = []
    attention = []
    for level in range(form.levels):
        first = f"input_blocks.{level * (form.blocks + 1) + 1}"
        channels = _size(source, f"{first}.0.out_layers.3.weight", 4)[0]
        affine = _size(source, f"{first}.0.emb_layers.1.weight", 2)[0]
        if affine == channels:
            raise ConvertError(
                "the embedding is added, not used as scale and shift (use_scale_shift_norm is off, "
                "as in the LSUN models); EDM's network cannot express it"
            )
        if channels % width:
            raise ConvertError(f"{first}: {channels} channels are no multiple of {width}")
        multipliers.append(channels // width)
        if f"{first}.1.qkv.weight" in source:
            attention.append(resolution >> level)
    config: dict[str, Any] = {
        "model_type": "DhariwalUNet",
        "img_resolution": resolution,
        "img_channels": image[1],
        "model_channels": width,
        "channel_mult": multipliers,
        "channel_mult_emb": embedding // width,
        "num_blocks": form.blocks,
        "attn_resolutions": attention,
    }
    if "label_emb.weight" in source:
        config["label_dim"] = _size(source, "label_emb.weight", 2)[0]
    return config


@dataclass(slots=True)
class _Renaming:
    """Takes every tensor of the network from `source` once, under its new name."""

    source: Mapping[str, Tensor]
    network: Network
    form: _Form
    qkv_layout: str
    _taken: set[str] = field(default_factory=set)
    _outputs: dict[str, OutputTensor] = field(default_factory=dict)

    def run(self) -> dict[str, OutputTensor]:
        expected = self.network.parameters()
        for new, old in self._names(expected):
            if new in expected:
                self._take(new, old, expected[new])
        unused = [name for name in self.source if name not in self._taken]
        check_shapes(expected, {name: out.shape for name, out in self._outputs.items()}, unused)
        return self._outputs

    def _names(self, expected: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
        """(new, old) for every layer; those the configuration does not have are not asked for."""
        layers = [
            ("model.map_layer0", "time_embed.0"),
            ("model.map_layer1", "time_embed.2"),
            ("model.map_label", "label_emb"),
            ("model.out_norm", "out.0"),
            ("model.out_conv", "out.2"),
        ]
        for block, residual, attention in self._blocks():
            layers += [(f"{block}.{new}", f"{residual}.{old}") for new, old in _RESIDUAL.items()]
            layers += [(f"{block}.{new}", f"{attention}.{old}") for new, old in _ATTENTION.items()]
        resolution = self.network.resolution(0)
        layers.append((f"model.enc.{resolution}x{resolution}_conv", "input_blocks.0.0"))
        for new, old in layers:
            for part in ("weight", "bias"):
                if f"{new}.{part}" in expected:
                    yield f"{new}.{part}", f"{old}.{part}"

    def _blocks(self) -> Iterator[tuple[str, str, str]]:
        """New name, and the old ones of its residual and attention parts."""
        levels, blocks = self.form.levels, self.form.blocks
        for level in range(levels):
            stem = f"model.enc.{self.network.resolution(level)}x{self.network.resolution(level)}"
            first = level * (blocks + 1)
            if level > 0:
                yield f"{stem}_down", f"input_blocks.{first}.0", ""
            for i in range(blocks):
                old = f"input_blocks.{first + 1 + i}"
                yield f"{stem}_block{i}", f"{old}.0", f"{old}.1"
        deepest = self.network.resolution(levels - 1)
        yield f"model.dec.{deepest}x{deepest}_in0", "middle_block.0", "middle_block.1"
        yield f"model.dec.{deepest}x{deepest}_in1", "middle_block.2", ""
        for j in range(levels * (blocks + 1)):
            level = levels - 1 - j // (blocks + 1)
            stem = f"model.dec.{self.network.resolution(level)}x{self.network.resolution(level)}"
            yield f"{stem}_block{j % (blocks + 1)}", f"output_blocks.{j}.0", f"output_blocks.{j}.1"
            if level > 0 and j % (blocks + 1) == blocks:
                above = self.network.resolution(level - 1)
                last = 2 if self.network.attends(level) else 1
                yield f"model.dec.{above}x{above}_up", f"output_blocks.{j}.{last}", ""

    def _take(self, new: str, old: str, shape: Shape) -> None:
        tensor = self.source.get(old)
        if tensor is None:
            raise ConvertError(f"tensor {old} is missing")
        self._taken.add(old)
        layer = new.split(".")[-2]
        change: Callable[[FloatArray], FloatArray] | None = None
        found = tensor.size
        if layer == "map_label":
            found, change = found[::-1], np.transpose
        elif layer in ("qkv", "proj") and len(shape) == 4:
            if len(found) == 3:
                found = (*found, 1)
        elif "norm" in layer and shape[0] < _LEAST_NORM_CHANNELS:
            raise ConvertError(
                f"tensor {old} normalises {shape[0]} channels in 32 groups; EDM's network does so "
                f"only from {_LEAST_NORM_CHANNELS} channels up"
            )
        if found != shape:
            raise ConvertError(
                f"tensor {old} has shape {list(tensor.size)}; the configuration needs {list(shape)}"
            )
        if layer == "qkv":
            if (shape[0] // 3) % _HEAD_CHANNELS:
                raise ConvertError(f"tensor {old}: its channels are not heads of {_HEAD_CHANNELS}")
            change = self._reorder_qkv

        def values() -> FloatArray:
            array = tensor.float32(old)
            return (array if change is None else change(array)).reshape(shape)

        self._outputs[new] = OutputTensor(shape, values)

    def _reorder_qkv(self, array: FloatArray) -> FloatArray:
        """To (head, channel, part) from (part, head, channel) or, legacy, (head, part, channel)."""
        heads = array.shape[0] // (3 * _HEAD_CHANNELS)
        rest = array.reshape(array.shape[0], -1)
        if self.qkv_layout == "flash":
            split = rest.reshape(3, heads, _HEAD_CHANNELS, -1).transpose(1, 2, 0, 3)
        else:
            split = rest.reshape(heads, 3, _HEAD_CHANNELS, -1).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(split).reshape(array.shape)
