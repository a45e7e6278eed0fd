"""The parameters of the UNet that consistency models use, under their names, with random values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from checkpoints import Array


@dataclass
class GuidedDiffusion:
    """Attention at every level from `attention_from` down; heads of 64 channels."""

    width: int = 128
    multipliers: tuple[int, ...] = (1, 1)
    blocks: int = 1
    attention_from: int = 1
    classes: int = 5
    scale_shift: bool = True
    attention_rank: int = 4
    dtype: str = "<f2"
    tensors: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(7)
        embedding = 4 * self.width
        self._linear("time_embed.0", self.width, embedding)
        self._linear("time_embed.2", embedding, embedding)
        if self.classes:
            self._add("label_emb.weight", self.classes, embedding)
        channels = self.width * self.multipliers[0]
        self._conv("input_blocks.0.0", 3, channels, 3)
        skips = [channels]
        index = 1
        for level, multiplier in enumerate(self.multipliers):
            if level:
                self._residual(f"input_blocks.{index}.0", channels, channels)
                skips.append(channels)
                index += 1
            for _ in range(self.blocks):
                self._residual(f"input_blocks.{index}.0", channels, self.width * multiplier)
                channels = self.width * multiplier
                if level >= self.attention_from:
                    self._attention(f"input_blocks.{index}.1", channels)
                skips.append(channels)
                index += 1
        self._residual("middle_block.0", channels, channels)
        self._attention("middle_block.1", channels)
        self._residual("middle_block.2", channels, channels)
        index = 0
        for level in reversed(range(len(self.multipliers))):
            for i in range(self.blocks + 1):
                outputs = self.width * self.multipliers[level]
                name = f"output_blocks.{index}"
                self._residual(f"{name}.0", channels + skips.pop(), outputs)
                channels = outputs
                item = 1
                if level >= self.attention_from:
                    self._attention(f"{name}.1", channels)
                    item = 2
                if level and i == self.blocks:
                    self._residual(f"{name}.{item}", channels, channels)
                index += 1
        self._norm("out.0", channels)
        self._conv("out.2", channels, 3, 3)

    def _add(self, name: str, *shape: int) -> None:
        self.tensors[name] = self._random.standard_normal(shape, np.float32).astype(self.dtype)

    def _with_bias(self, name: str, *shape: int) -> None:
        self._add(f"{name}.weight", *shape)
        self._add(f"{name}.bias", shape[0])

    def _linear(self, name: str, inputs: int, outputs: int) -> None:
        self._with_bias(name, outputs, inputs)

    def _conv(self, name: str, inputs: int, outputs: int, kernel: int) -> None:
        self._with_bias(name, outputs, inputs, kernel, kernel)

    def _norm(self, name: str, channels: int) -> None:
        self._with_bias(name, channels)

    def _residual(self, name: str, inputs: int, outputs: int) -> None:
        self._norm(f"{name}.in_layers.0", inputs)
        self._conv(f"{name}.in_layers.2", inputs, outputs, 3)
        self._linear(f"{name}.emb_layers.1", 4 * self.width, outputs * (1 + self.scale_shift))
        self._norm(f"{name}.out_layers.0", outputs)
        self._conv(f"{name}.out_layers.3", outputs, outputs, 3)
        if inputs != outputs:
            self._conv(f"{name}.skip_connection", inputs, outputs, 1)

    def _attention(self, name: str, channels: int) -> None:
        ones = (1,) * (self.attention_rank - 2)
        self._norm(f"{name}.norm", channels)
        self._with_bias(f"{name}.qkv", 3 * channels, channels, *ones)
        self._with_bias(f"{name}.proj_out", channels, channels, *ones)
