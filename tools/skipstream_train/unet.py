"""The DDPM++ UNet (arXiv 2011.13456; in EDM's form arXiv 2206.00364, Table 7) to be trained.

Modules carry the parameter names of EDM checkpoints, so a state_dict is the content of a model
file. This is the SongUNet of model/families/edm_unet with positional embedding, standard encoder
and decoder, and box resampling; tools/reference_unet computes the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

HALF = math.sqrt(0.5)  # keeps the variance of a sum of two branches


@dataclass(frozen=True)
class UNetConfig:
    """Constructor arguments of the published class, under its names."""

    img_resolution: int
    img_channels: int
    label_dim: int  # classes; 0: none
    model_channels: int
    channel_mult: tuple[int, ...]
    num_blocks: int
    attn_resolutions: tuple[int, ...]
    dropout: float = 0.0
    channel_mult_emb: int = 4

    @property
    def num_skips(self) -> int:
        return len(self.channel_mult) * (self.num_blocks + 1)


class Block(nn.Module):
    """Residual block [B, in, H, W] -> [B, out, H', W'] with optional resampling and attention."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        emb: int,
        dropout: float,
        *,
        resample: str = "",
        attends: bool = False,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.dropout = dropout
        self.attends = attends
        self.norm0 = _norm(channels_in)
        self.conv0 = _conv(channels_in, channels_out, 3)
        self.affine = _linear(emb, channels_out)
        self.norm1 = _norm(channels_out)
        self.conv1 = _conv(channels_out, channels_out, 3, gain=1e-5)
        changes = bool(resample) or channels_in != channels_out
        self.skip = _conv(channels_in, channels_out, 1) if changes else None
        if attends:
            self.norm2 = _norm(channels_out)
            self.qkv = _conv(channels_out, 3 * channels_out, 1, gain=math.sqrt(0.2))
            self.proj = _conv(channels_out, channels_out, 1, gain=1e-5)

    def forward(self, x: Tensor, emb: Tensor, dropout: torch.Generator | None) -> Tensor:
        h = self.conv0(self._resampled(functional.silu(self.norm0(x))))
        h = h + self.affine(emb)[:, :, None, None]
        h = functional.silu(self.norm1(h))
        if dropout is not None and self.dropout > 0:
            kept = torch.empty_like(h).bernoulli_(1 - self.dropout, generator=dropout)
            h = h * kept / (1 - self.dropout)
        h = self.conv1(h)
        h = (h + (x if self.skip is None else self.skip(self._resampled(x)))) * HALF
        if self.attends:
            h = (h + self._attention(self.norm2(h))) * HALF
        return h

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return functional.interpolate(x, scale_factor=2.0, mode="nearest")
        if self.resample == "down":
            return functional.avg_pool2d(x, 2)
        return x

    def _attention(self, x: Tensor) -> Tensor:
        """One head. The channels of qkv are ordered (channel, part)."""
        batch, channels, height, width = x.shape
        qkv = self.qkv(x).reshape(batch, channels, 3, height * width)
        q, k, v = (part.transpose(1, 2)[:, None] for part in qkv.unbind(2))  # [B, 1, HW, C]
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = mixed[:, 0].transpose(1, 2).reshape(batch, channels, height, width)
        return self.proj(mixed)


class SongUNet(nn.Module):
    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.model_channels
        emb = width * config.channel_mult_emb
        half = width // 2
        frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / (half - 1))
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.map_label = _linear(config.label_dim, width) if config.label_dim else None
        self.map_layer0 = _linear(width, emb)
        self.map_layer1 = _linear(emb, emb)

        skips = []
        channels = width
        enc: dict[str, nn.Module] = {}
        for level, mult in enumerate(config.channel_mult):
            size = config.img_resolution >> level
            if level == 0:
                enc[f"{size}x{size}_conv"] = _conv(config.img_channels, width, 3)
            else:
                enc[f"{size}x{size}_down"] = Block(
                    channels, channels, emb, config.dropout, resample="down"
                )
            skips.append(channels)
            for i in range(config.num_blocks):
                out = width * mult
                enc[f"{size}x{size}_block{i}"] = Block(
                    channels, out, emb, config.dropout, attends=size in config.attn_resolutions
                )
                channels = out
                skips.append(channels)
        self.enc = nn.ModuleDict(enc)

        dec: dict[str, nn.Module] = {}
        self.takes_skip: list[bool] = []

        def add(name: str, block: Block, takes_skip: bool) -> None:
            dec[name] = block
            self.takes_skip.append(takes_skip)

        for level in reversed(range(len(config.channel_mult))):
            size = config.img_resolution >> level
            name = f"{size}x{size}_"
            if level == len(config.channel_mult) - 1:
                for i in range(2):
                    block = Block(channels, channels, emb, config.dropout, attends=i == 0)
                    add(f"{name}in{i}", block, takes_skip=False)
            else:
                block = Block(channels, channels, emb, config.dropout, resample="up")
                add(f"{name}up", block, takes_skip=False)
            for i in range(config.num_blocks + 1):
                out = width * config.channel_mult[level]
                attends = i == config.num_blocks and size in config.attn_resolutions
                block = Block(channels + skips.pop(), out, emb, config.dropout, attends=attends)
                add(f"{name}block{i}", block, takes_skip=True)
                channels = out
        size = config.img_resolution
        dec[f"{size}x{size}_aux_norm"] = _norm(channels)
        dec[f"{size}x{size}_aux_conv"] = _conv(channels, config.img_channels, 3, gain=1e-5)
        self.dec = nn.ModuleDict(dec)

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        labels: Tensor | None,
        rho: Tensor | None,
        dropout: torch.Generator | None,
    ) -> Tensor:
        """x [B, C, H, W]; c_noise [B]; labels [B, label_dim], zeros for no class; rho [B, K]."""
        angles = torch.outer(c_noise, self.frequencies)
        emb = torch.cat([angles.sin(), angles.cos()], dim=1)
        if self.map_label is not None:
            assert labels is not None
            emb = emb + self.map_label(labels * math.sqrt(self.config.label_dim))
        emb = functional.silu(self.map_layer0(emb))
        emb = functional.silu(self.map_layer1(emb))

        skips = []
        h = x
        for block in self.enc.values():
            h = block(h, emb, dropout) if isinstance(block, Block) else block(h)
            skips.append(h)
        *blocks, norm, conv = self.dec.values()
        consumed = 0
        for block, takes_skip in zip(blocks, self.takes_skip, strict=True):
            if takes_skip:
                skip = skips.pop()
                if rho is not None:
                    skip = skip * rho[:, consumed, None, None, None]
                consumed += 1
                h = torch.cat([h, skip], dim=1)
            h = block(h, emb, dropout)
        return conv(functional.silu(norm(h)))


class Denoiser(nn.Module):
    """D(x; sigma) of EDM, equation 7; its state_dict has the names of a model file."""

    def __init__(self, config: UNetConfig, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.config = config
        self.sigma_data = sigma_data
        self.model = SongUNet(config)

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        labels: Tensor | None,
        rho: Tensor | None = None,
        dropout: torch.Generator | None = None,
    ) -> Tensor:
        """x [B, C, H, W] and sigma [B] in float32; so is the result, autocast or not.

        Drops out only with a generator for it.
        """
        data = self.sigma_data
        s = sigma[:, None, None, None]
        total = (s**2 + data**2).sqrt()
        f = self.model(x / total, sigma.log() / 4, labels, rho, dropout)
        return data**2 / total**2 * x + s * data / total * f.float()


def num_groups(channels: int) -> int:
    return min(32, channels // 4)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups(channels), channels, eps=1e-6)


def _linear(features_in: int, features_out: int) -> nn.Linear:
    layer = nn.Linear(features_in, features_out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _conv(channels_in: int, channels_out: int, kernel: int, gain: float = 1.0) -> nn.Conv2d:
    layer = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
