"""SongUNet (DDPM++, NCSN++) and DhariwalUNet (ADM) with scaled skips.

A network is a function of its parameters, its configuration (the constructor arguments of the
published class) and its inputs: x [B, C, H, W], c_noise [B], labels [B, label_dim], rho [B, K].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reference_unet import layers
from reference_unet.layers import silu
from reference_unet.parameters import Array, Parameters

Config = dict[str, Any]
ROOT_HALF = float(np.sqrt(0.5))  # keeps the variance of a sum of two

SONG_DEFAULTS: Config = {
    "label_dim": 0,
    "augment_dim": 0,
    "model_channels": 128,
    "channel_mult": [1, 2, 2, 2],
    "channel_mult_emb": 4,
    "num_blocks": 4,
    "attn_resolutions": [16],
    "embedding_type": "positional",
    "channel_mult_noise": 1,
    "encoder_type": "standard",
    "decoder_type": "standard",
    "resample_filter": [1, 1],
}
DHARIWAL_DEFAULTS: Config = {
    "label_dim": 0,
    "augment_dim": 0,
    "model_channels": 192,
    "channel_mult": [1, 2, 3, 4],
    "channel_mult_emb": 4,
    "num_blocks": 3,
    "attn_resolutions": [32, 16, 8],
}


def num_skips(config: Config) -> int:
    c = (DHARIWAL_DEFAULTS if is_dhariwal(config) else SONG_DEFAULTS) | config
    return len(c["channel_mult"]) * (int(c["num_blocks"]) + 1)


def is_dhariwal(config: Config) -> bool:
    return bool(config["model_type"] == "DhariwalUNet")


@dataclass
class Skips:
    """Skips that the decoder takes, deepest first, each scaled by its coefficient."""

    rho: Array
    stack: list[Array] = field(default_factory=list)
    joined: int = 0

    def join(self, h: Array) -> Array:
        scale = self.rho[:, self.joined, None, None, None]
        self.joined += 1
        return np.concatenate([h, scale * self.stack.pop()], axis=1)


def forward(
    p: Parameters, config: Config, x: Array, c_noise: Array, labels: Array | None, rho: Array,
    out_channels: int,
) -> Array:  # fmt: skip
    network = _dhariwal if is_dhariwal(config) else _song
    return network(p, config, x, c_noise, labels, rho, out_channels)


def _resampled(p: Parameters, name: str, x: Array, resample: str, taps: list[float]) -> Array:
    """`resample`: "up", "down" or nothing."""
    if resample == "up":
        return layers.upsample(p, name, x, taps)
    return layers.downsample(p, name, x, taps) if resample == "down" else x


def _song_block(
    p: Parameters, name: str, x: Array, emb: Array, out: int, taps: list[float],
    resample: str = "", attends: bool = False,
) -> Array:  # fmt: skip
    h = silu(layers.group_norm(p, f"{name}.norm0", x, 1e-6))
    h = _resampled(p, f"{name}.conv0", h, resample, taps)
    h = layers.conv(p, f"{name}.conv0", h, out, 3)
    h = h + layers.linear(p, f"{name}.affine", emb, out)[:, :, None, None]
    h = layers.conv(
        p, f"{name}.conv1", silu(layers.group_norm(p, f"{name}.norm1", h, 1e-6)), out, 3
    )
    if resample or x.shape[1] != out:
        x = _resampled(p, f"{name}.skip", x, resample, taps)
        x = layers.conv(p, f"{name}.skip", x, out, 1)
    h = (h + x) * ROOT_HALF
    if attends:
        normed = layers.group_norm(p, f"{name}.norm2", h, 1e-6)
        h = (h + layers.attention(p, name, normed, 1)) * ROOT_HALF
    return h


def _song(
    p: Parameters, config: Config, x: Array, c_noise: Array, labels: Array | None, rho: Array,
    out_channels: int,
) -> Array:  # fmt: skip
    c = SONG_DEFAULTS | config
    width, taps, levels = c["model_channels"], c["resample_filter"], len(c["channel_mult"])
    noise, emb_channels = width * c["channel_mult_noise"], width * c["channel_mult_emb"]

    cosines, sines = (
        layers.fourier(p, "model.map_noise", c_noise, noise)
        if c["embedding_type"] == "fourier"
        else layers.positional(c_noise, noise, endpoint=True)
    )
    emb = np.concatenate([sines, cosines], axis=1)
    if labels is not None:
        scaled = labels * np.sqrt(c["label_dim"])
        emb = emb + layers.linear(p, "model.map_label", scaled, noise)
    if c["augment_dim"]:
        zeros = np.zeros((len(x), c["augment_dim"]))
        emb = emb + layers.linear(p, "model.map_augment", zeros, noise, bias=False)
    emb = silu(layers.linear(p, "model.map_layer0", emb, emb_channels))
    emb = silu(layers.linear(p, "model.map_layer1", emb, emb_channels))

    skips = Skips(rho)
    aux = x
    for level, mult in enumerate(c["channel_mult"]):
        size = c["img_resolution"] >> level
        name = f"model.enc.{size}x{size}_"
        if level == 0:
            h = layers.conv(p, f"{name}conv", x, width, 3)
        else:
            h = _song_block(p, f"{name}down", h, emb, h.shape[1], taps, "down")
            if c["encoder_type"] == "skip":
                aux = layers.downsample(p, f"{name}aux_down", aux, taps)
                h = h + layers.conv(p, f"{name}aux_skip", aux, h.shape[1], 1)
            elif c["encoder_type"] == "residual":
                aux = layers.conv_down(p, f"{name}aux_residual", aux, h.shape[1], taps)
                h = aux = (h + aux) * ROOT_HALF
        skips.stack.append(h)
        for i in range(c["num_blocks"]):
            attends = size in c["attn_resolutions"]
            h = _song_block(p, f"{name}block{i}", h, emb, width * mult, taps, attends=attends)
            skips.stack.append(h)

    result: Array | None = None
    for level in reversed(range(levels)):
        size = c["img_resolution"] >> level
        name = f"model.dec.{size}x{size}_"
        if level == levels - 1:
            h = _song_block(p, f"{name}in0", h, emb, h.shape[1], taps, attends=True)
            h = _song_block(p, f"{name}in1", h, emb, h.shape[1], taps)
        else:
            h = _song_block(p, f"{name}up", h, emb, h.shape[1], taps, "up")
        for i in range(c["num_blocks"] + 1):
            attends = i == c["num_blocks"] and size in c["attn_resolutions"]
            out = width * c["channel_mult"][level]
            h = _song_block(p, f"{name}block{i}", skips.join(h), emb, out, taps, attends=attends)
        if c["decoder_type"] == "skip" or level == 0:
            if result is not None:
                result = layers.upsample(p, f"{name}aux_up", result, taps)
            normed = silu(layers.group_norm(p, f"{name}aux_norm", h, 1e-6))
            added = layers.conv(p, f"{name}aux_conv", normed, out_channels, 3)
            result = added if result is None else result + added
    assert result is not None
    return result


def _dhariwal_block(
    p: Parameters, name: str, x: Array, emb: Array, out: int, resample: str = "",
    attends: bool = False,
) -> Array:  # fmt: skip
    h = silu(layers.group_norm(p, f"{name}.norm0", x, 1e-5))
    h = _resampled(p, f"{name}.conv0", h, resample, [1, 1])
    h = layers.conv(p, f"{name}.conv0", h, out, 3)
    scale, shift = np.split(layers.linear(p, f"{name}.affine", emb, 2 * out), 2, axis=1)
    h = layers.group_norm(p, f"{name}.norm1", h, 1e-5)
    h = silu(h * (scale[:, :, None, None] + 1.0) + shift[:, :, None, None])
    h = layers.conv(p, f"{name}.conv1", h, out, 3)
    shortcut = _resampled(p, f"{name}.skip", x, resample, [1, 1])
    if x.shape[1] != out:
        shortcut = layers.conv(p, f"{name}.skip", shortcut, out, 1)
    h = h + shortcut
    if attends and out // 64 > 0:
        normed = layers.group_norm(p, f"{name}.norm2", h, 1e-5)
        h = h + layers.attention(p, name, normed, out // 64)
    return h


def _dhariwal(
    p: Parameters, config: Config, x: Array, c_noise: Array, labels: Array | None, rho: Array,
    out_channels: int,
) -> Array:  # fmt: skip
    c = DHARIWAL_DEFAULTS | config
    width, levels = c["model_channels"], len(c["channel_mult"])
    emb_channels = width * c["channel_mult_emb"]

    cosines, sines = layers.positional(c_noise, width, endpoint=False)
    emb = np.concatenate([cosines, sines], axis=1)
    if c["augment_dim"]:
        zeros = np.zeros((len(x), c["augment_dim"]))
        emb = emb + layers.linear(p, "model.map_augment", zeros, width, bias=False)
    emb = silu(layers.linear(p, "model.map_layer0", emb, emb_channels))
    emb = layers.linear(p, "model.map_layer1", emb, emb_channels)
    if labels is not None:
        emb = emb + layers.linear(p, "model.map_label", labels, emb_channels, bias=False)
    emb = silu(emb)

    skips = Skips(rho)
    for level, mult in enumerate(c["channel_mult"]):
        size = c["img_resolution"] >> level
        name = f"model.enc.{size}x{size}_"
        if level == 0:
            h = layers.conv(p, f"{name}conv", x, width * mult, 3)
        else:
            h = _dhariwal_block(p, f"{name}down", h, emb, h.shape[1], "down")
        skips.stack.append(h)
        for i in range(c["num_blocks"]):
            attends = size in c["attn_resolutions"]
            h = _dhariwal_block(p, f"{name}block{i}", h, emb, width * mult, attends=attends)
            skips.stack.append(h)

    for level in reversed(range(levels)):
        size = c["img_resolution"] >> level
        name = f"model.dec.{size}x{size}_"
        if level == levels - 1:
            h = _dhariwal_block(p, f"{name}in0", h, emb, h.shape[1], attends=True)
            h = _dhariwal_block(p, f"{name}in1", h, emb, h.shape[1])
        else:
            h = _dhariwal_block(p, f"{name}up", h, emb, h.shape[1], "up")
        for i in range(c["num_blocks"] + 1):
            attends = size in c["attn_resolutions"]
            out = width * c["channel_mult"][level]
            h = _dhariwal_block(p, f"{name}block{i}", skips.join(h), emb, out, attends=attends)
    h = silu(layers.group_norm(p, "model.out_norm", h, 1e-5))
    return layers.conv(p, "model.out_conv", h, out_channels, 3)
