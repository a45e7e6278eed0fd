"""Sources of the parameters of a reference network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Parameters:
    """Looks parameters up by name; draws those that are missing if it has a generator."""

    def __init__(
        self, values: dict[str, Array], generator: np.random.Generator | None = None
    ) -> None:
        self.values = values
        self._generator = generator

    def weight(self, name: str, *shape: int) -> Array:
        """Of a layer; drawn so that it keeps the variance of its input."""
        return self._get(name, shape, 0.0, float(np.prod(shape[1:])) ** -0.5)

    def bias(self, name: str, size: int) -> Array:
        return self._get(name, (size,), 0.0, 0.2)

    def gain(self, name: str, size: int) -> Array:
        return self._get(name, (size,), 1.0, 0.3)

    def frequencies(self, name: str, size: int) -> Array:
        return self._get(name, (size,), 0.0, 4.0)

    def constant(self, name: str, value: Array) -> Array:
        """A buffer that checkpoints store though it follows from the configuration."""
        if self._generator is not None:
            self.values[name] = value.astype(np.float32).astype(np.float64)
        elif name in self.values:
            np.testing.assert_allclose(self.values[name], value, rtol=1e-6, err_msg=name)
        return value

    def _get(self, name: str, shape: tuple[int, ...], mean: float, deviation: float) -> Array:
        if name not in self.values:
            if self._generator is None:
                raise KeyError(f"parameter {name} is missing")
            drawn = mean + deviation * self._generator.standard_normal(shape)
            self.values[name] = drawn.astype(np.float32).astype(np.float64)
        value = self.values[name]
        if value.shape != shape:
            raise ValueError(f"parameter {name} has shape {value.shape}, must be {shape}")
        return value
