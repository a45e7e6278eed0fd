"""Trains the parts classifier whose features the Fréchet distance is taken on; needs PyTorch.

The result ships as parts_encoder.safetensors: 3,000 batches of 128 composed images, about 15
minutes on two cores. Measuring does not need PyTorch.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from skipstream_data import nouns
from skipstream_files import write
from torch import nn

_CHANNELS = (3, 24, 48, 64, 96)
FEATURES = 96
_NOISE = 0.02  # standard deviation, of values in [-1, 1]: enough that rounding does not matter


class Classifier(nn.Module):
    """The network of PartsEncoder, with one linear head for each layer of parts."""

    def __init__(self, counts: dict[str, int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=1 if i == 0 else 2, padding=1)
            for i, (a, b) in enumerate(itertools.pairwise(_CHANNELS))
        )
        self.dense = nn.Linear(_CHANNELS[-1] * 16, FEATURES)
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, n) for name, n in counts.items()})

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, 3, 32, 32] in [-1, 1]. Flattened rows, columns, channels: the order NumPy has."""
        for convolution in self.convolutions:
            x = torch.relu(convolution(x))
        return torch.relu(self.dense(x.permute(0, 2, 3, 1).flatten(1)))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.hidden(x)
        return {name: head(hidden) for name, head in self.heads.items()}


def train(
    file: Path,
    *,
    steps: int,
    batch: int,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Writes the trained classifier to `file`; deterministic on one machine and thread count."""
    parts = nouns.load()
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    counts = dict(zip(nouns.LAYERS, parts.counts, strict=True))
    model = Classifier(counts)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        combinations = parts.draw(generator, batch)
        x = _input(parts.compose(combinations))
        x += _NOISE * torch.randn(x.shape)
        losses = {
            name: nn.functional.cross_entropy(logits, torch.from_numpy(combinations[:, i]))
            for i, (name, logits) in enumerate(model(x).items())
        }
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            line = ", ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            report(f"step {step + 1} of {steps}: {line}")
    model.eval()
    with torch.no_grad():
        real = _input(parts.compose(parts.draw(generator, 4096)))
        deviation = torch.cat([model.hidden(block) for block in real.split(256)]).std(dim=0)
    write(file, _serialize(model, deviation))


def _input(pictures: nouns.Pictures) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _serialize(model: Classifier, deviation: torch.Tensor) -> bytes:
    tensors = {}
    for i, convolution in enumerate(model.convolutions):
        tensors[f"conv{i}.weight"] = convolution.weight
        tensors[f"conv{i}.bias"] = convolution.bias
    tensors["dense.weight"] = model.dense.weight
    tensors["dense.bias"] = model.dense.bias
    for name, head in model.heads.items():
        tensors[f"head.{name}.weight"] = head.weight
        tensors[f"head.{name}.bias"] = head.bias
    # A unit that never fires says nothing and must not be blown up.
    tensors["feature_scale"] = torch.where(deviation > 1e-3, 1 / deviation.clamp_min(1e-3), 0)
    header: dict[str, object] = {
        "__metadata__": {"made_by": "tools/quality train-encoder", "license": "CC0-1.0"}
    }
    body = b""
    for name in sorted(tensors):
        data = tensors[name].detach().numpy().astype("<f2").tobytes()
        header[name] = {
            "dtype": "F16",
            "shape": list(tensors[name].shape),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body
