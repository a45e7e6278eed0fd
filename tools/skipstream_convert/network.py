"""What a configuration says about the parameters of a network: their names and shapes, and the
constant filters stored beside them.

Names and structure are those of EDM (arXiv 2206.00364): SongUNet in its DDPM++ and NCSN++ forms
(Song et al., arXiv 2011.13456) and DhariwalUNet (ADM, arXiv 2105.05233).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skipstream_convert.config import PRECONDITIONERS, complete_config
from skipstream_convert.errors import ConvertError
from skipstream_convert.tensors import FloatArray

Shape = tuple[int, ...]

_HEAD_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class Network:
    """A checked configuration. `config` is what the model file states: every key of the network."""

    preconditioning: str
    config: Mapping[str, Any]

    @property
    def model_type(self) -> str:
        return str(self.config["model_type"])

    @property
    def levels(self) -> int:
        return len(self.config["channel_mult"])

    @property
    def num_skips(self) -> int:
        """K: what the encoder hands to the decoder, per level its first layer and its blocks."""
        return self.levels * (int(self.config["num_blocks"]) + 1)

    def resolution(self, level: int) -> int:
        return int(self.config["img_resolution"]) >> level

    def attends(self, level: int) -> bool:
        return self.resolution(level) in self.config["attn_resolutions"]

    def parameters(self) -> dict[str, Shape]:
        """Every parameter, Fourier frequencies included, by its name in the model file."""
        song = self.model_type == "SongUNet"
        return dict(_song_parameters(self) if song else _dhariwal_parameters(self))

    def filters(self) -> dict[str, FloatArray]:
        """Constant buffers that EDM stores beside the parameters: kernels of resampling layers."""
        taps = np.asarray(self.config.get("resample_filter", [1, 1]), np.float32)
        kernel = (np.outer(taps, taps) / np.square(taps.sum()))[np.newaxis, np.newaxis]
        names = []
        for level in range(1, self.levels):
            above, below = self.resolution(level - 1), self.resolution(level)
            for block in (f"enc.{below}x{below}_down", f"dec.{above}x{above}_up"):
                names += [f"model.{block}.conv0", f"model.{block}.skip"]
            names += {
                "skip": [f"model.enc.{below}x{below}_aux_down"],
                "residual": [f"model.enc.{below}x{below}_aux_residual"],
            }.get(self.config.get("encoder_type", ""), [])
            if self.config.get("decoder_type") == "skip":
                names.append(f"model.dec.{above}x{above}_aux_up")
        return {f"{name}.resample_filter": kernel for name in names}


def make_network(preconditioning: str, arguments: Mapping[str, Any]) -> Network:
    """Of constructor arguments; ConvertError as complete_config, or if no group normalisation or
    attention can have these widths."""
    network = Network(preconditioning, complete_config(preconditioning, arguments))
    network.parameters()
    return network


# ---- parameters ----

Parameters = Iterator[tuple[str, Shape]]


def _with_bias(name: str, shape: Shape) -> Parameters:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _conv(name: str, inputs: int, outputs: int, kernel: int) -> Parameters:
    return _with_bias(name, (outputs, inputs, kernel, kernel))


def _linear(name: str, inputs: int, outputs: int) -> Parameters:
    return _with_bias(name, (outputs, inputs))


def _norm(name: str, channels: int) -> Parameters:
    groups = min(32, channels // 4)
    if channels % groups:
        raise ConvertError(f"config: {name} would split {channels} channels into {groups} groups")
    return _with_bias(name, (channels,))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Form of a family's residual blocks."""

    embedding: int
    adaptive: bool  # the embedding scales and shifts
    projected: bool  # every resampling block has a shortcut convolution

    def block(
        self, name: str, inputs: int, outputs: int, *, resamples: bool = False, attends: bool
    ) -> Parameters:
        yield from _norm(f"{name}.norm0", inputs)
        yield from _conv(f"{name}.conv0", inputs, outputs, 3)
        yield from _linear(f"{name}.affine", self.embedding, outputs * (2 if self.adaptive else 1))
        yield from _norm(f"{name}.norm1", outputs)
        yield from _conv(f"{name}.conv1", outputs, outputs, 3)
        if inputs != outputs or (resamples and self.projected):
            yield from _conv(f"{name}.skip", inputs, outputs, 1)
        # Heads of 64 channels in one family, a single one in the other: below 64 there is none.
        if attends and not (self.adaptive and outputs < _HEAD_CHANNELS):
            heads = outputs // _HEAD_CHANNELS if self.adaptive else 1
            if outputs % heads:
                raise ConvertError(
                    f"config: {name}.qkv would split {outputs} channels into {heads} heads"
                )
            yield from _norm(f"{name}.norm2", outputs)
            yield from _conv(f"{name}.qkv", outputs, 3 * outputs, 1)
            yield from _conv(f"{name}.proj", outputs, outputs, 1)


def _unet(
    network: Network, blocks: _Blocks, first: int, decoder_attends_in_every_block: bool
) -> Parameters:
    """Encoder and decoder less their auxiliary layers; both families name them the same way."""
    config = network.config
    width, count = config["model_channels"], config["num_blocks"]
    skips = []
    channels = first
    for level, multiplier in enumerate(config["channel_mult"]):
        stem = f"model.enc.{network.resolution(level)}x{network.resolution(level)}"
        if level == 0:
            yield from _conv(f"{stem}_conv", config["img_channels"], channels, 3)
        else:
            yield from blocks.block(
                f"{stem}_down", channels, channels, resamples=True, attends=False
            )
        skips.append(channels)
        for i in range(count):
            outputs = width * multiplier
            yield from blocks.block(
                f"{stem}_block{i}", channels, outputs, attends=network.attends(level)
            )
            channels = outputs
            skips.append(channels)
    for level in reversed(range(network.levels)):
        stem = f"model.dec.{network.resolution(level)}x{network.resolution(level)}"
        if level == network.levels - 1:
            yield from blocks.block(f"{stem}_in0", channels, channels, attends=True)
            yield from blocks.block(f"{stem}_in1", channels, channels, attends=False)
        else:
            yield from blocks.block(f"{stem}_up", channels, channels, resamples=True, attends=False)
        for i in range(count + 1):
            outputs = width * config["channel_mult"][level]
            attends = network.attends(level) and (decoder_attends_in_every_block or i == count)
            yield from blocks.block(
                f"{stem}_block{i}", channels + skips.pop(), outputs, attends=attends
            )
            channels = outputs


def _song_parameters(network: Network) -> Parameters:
    config = network.config
    width, multipliers = config["model_channels"], config["channel_mult"]
    image, output = config["img_channels"], _output_channels(network)
    noise, embedding = width * config["channel_mult_noise"], width * config["channel_mult_emb"]
    if config["embedding_type"] == "fourier":
        yield "model.map_noise.freqs", (noise // 2,)
    if config["label_dim"]:
        yield from _linear("model.map_label", config["label_dim"], noise)
    if config["augment_dim"]:
        yield "model.map_augment.weight", (noise, config["augment_dim"])
    yield from _linear("model.map_layer0", noise, embedding)
    yield from _linear("model.map_layer1", embedding, embedding)
    yield from _unet(network, _Blocks(embedding, adaptive=False, projected=True), width, False)
    auxiliary = image
    for level in range(1, network.levels):
        name = f"model.enc.{network.resolution(level)}x{network.resolution(level)}_aux"
        channels = width * multipliers[level - 1]
        if config["encoder_type"] == "skip":
            yield from _conv(f"{name}_skip", auxiliary, channels, 1)
        elif config["encoder_type"] == "residual":
            yield from _conv(f"{name}_residual", auxiliary, channels, 3)
            auxiliary = channels
    for level in range(network.levels if config["decoder_type"] == "skip" else 1):
        name = f"model.dec.{network.resolution(level)}x{network.resolution(level)}_aux"
        yield from _norm(f"{name}_norm", width * multipliers[level])
        yield from _conv(f"{name}_conv", width * multipliers[level], output, 3)


def _dhariwal_parameters(network: Network) -> Parameters:
    config = network.config
    width, multipliers = config["model_channels"], config["channel_mult"]
    embedding = width * config["channel_mult_emb"]
    if config["label_dim"]:
        yield "model.map_label.weight", (embedding, config["label_dim"])
    if config["augment_dim"]:
        yield "model.map_augment.weight", (width, config["augment_dim"])
    yield from _linear("model.map_layer0", width, embedding)
    yield from _linear("model.map_layer1", embedding, embedding)
    blocks = _Blocks(embedding, adaptive=True, projected=False)
    yield from _unet(network, blocks, width * multipliers[0], True)
    yield from _norm("model.out_norm", width * multipliers[0])
    yield from _conv("model.out_conv", width * multipliers[0], _output_channels(network), 3)


def _output_channels(network: Network) -> int:
    factor = PRECONDITIONERS[network.preconditioning].output_factor
    return int(network.config["img_channels"]) * factor
