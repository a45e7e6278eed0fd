"""Adam (arXiv 1412.6980, Algorithm 1) over all parameters at once.

Not torch.optim.Adam, whose import of the compiler takes longer than a small run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = list(parameters)
        self.steps = 0
        self.mean = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.square = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]

    def set_gradients(self, gradients: list[Tensor]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def step(self, learning_rate: float) -> None:
        """Every parameter must have a gradient."""
        with torch.no_grad():
            self._step(learning_rate)

    def _step(self, learning_rate: float) -> None:
        self.steps += 1
        gradients = [p.grad for p in self.parameters]
        torch._foreach_lerp_(self.mean, gradients, 1 - BETA1)
        torch._foreach_mul_(self.square, BETA2)
        torch._foreach_addcmul_(self.square, gradients, gradients, 1 - BETA2)
        scale = torch._foreach_sqrt(self.square)
        torch._foreach_div_(scale, math.sqrt(1 - BETA2**self.steps))
        torch._foreach_add_(scale, EPSILON)
        size = -learning_rate / (1 - BETA1**self.steps)
        torch._foreach_addcdiv_(self.parameters, self.mean, scale, size)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "mean": self.mean, "square": self.square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for ours, saved in ((self.mean, state["mean"]), (self.square, state["square"])):
            for value, loaded in zip(ours, saved, strict=True):
                value.copy_(loaded)
