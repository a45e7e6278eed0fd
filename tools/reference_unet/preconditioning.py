"""Denoisers D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) around a raw network F."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reference_unet.parameters import Array


@dataclass(frozen=True)
class Preconditioning:
    """One of the published classes; `config` may override its constants."""

    name: str
    config: dict[str, Any]

    @property
    def outputs_per_channel(self) -> int:
        return 2 if self.name == "iDDPMPrecond" else 1

    @property
    def limits(self) -> tuple[float, float]:
        if self.name == "VPPrecond":
            return self._vp_sigma(self._constant("epsilon_t", 1e-5)), self._vp_sigma(1.0)
        if self.name == "iDDPMPrecond":
            u = self.levels()
            return float(u[-2]), float(u[0])
        low, high = {
            "EDMPrecond": (0.0, float("inf")),
            "VEPrecond": (0.02, 100.0),
            "CMPrecond": (0.002, 80.0),
        }[self.name]
        return self._constant("sigma_min", low), self._constant("sigma_max", high)

    def levels(self) -> Array:
        """u_0 ... u_M of iDDPM in float32, as trained (EDM, Table 1)."""
        m = int(self._constant("M", 1000))
        c_1, c_2 = self._constant("C_1", 0.001), self._constant("C_2", 0.008)
        j = np.arange(m + 1, dtype=np.float32)
        angle = np.float32(0.5 * np.pi) * j / np.float32(m) / np.float32(c_2 + 1.0)
        alpha_bar = np.sin(angle.astype(np.float64)).astype(np.float32) ** 2
        u = np.zeros(m + 1, dtype=np.float32)
        for i in range(m, 0, -1):
            ratio = max(alpha_bar[i - 1] / alpha_bar[i], np.float32(c_1))
            u[i - 1] = np.sqrt((u[i] ** 2 + np.float32(1.0)) / ratio - np.float32(1.0))
        return u.astype(np.float64)

    def rounded(self, sigma: Array) -> Array:
        """The levels the class knows, nearest to these."""
        if self.name != "iDDPMPrecond":
            return sigma
        u = self.levels()
        return np.asarray(u[self._nearest(u, sigma)])

    def coefficients(self, sigma: Array) -> tuple[Array, Array, Array, Array]:
        """c_skip, c_out, c_in, c_noise, each [B]."""
        one = np.ones_like(sigma)
        data = self._constant("sigma_data", 0.5)
        total = np.sqrt(sigma**2 + data**2)
        if self.name == "EDMPrecond":
            return data**2 / total**2, sigma * data / total, 1 / total, np.log(sigma) / 4
        if self.name == "CMPrecond":
            above = sigma - self.limits[0]
            c_skip = data**2 / (above**2 + data**2)
            return c_skip, data * above / total, 1 / total, 250 * np.log(sigma)
        if self.name == "VEPrecond":
            return one, sigma, one, np.log(0.5 * sigma)
        c_in = 1 / np.sqrt(sigma**2 + 1)
        if self.name == "VPPrecond":
            m = self._constant("M", 1000)
            return one, -sigma, c_in, (m - 1) * self._vp_time(sigma)
        u = self.levels()
        return one, -sigma, c_in, len(u) - 2.0 - self._nearest(u, sigma)

    def _constant(self, key: str, default: float) -> float:
        return float(self.config.get(key, default))

    def _vp_sigma(self, t: float) -> float:
        beta_d, beta_min = self._constant("beta_d", 19.9), self._constant("beta_min", 0.1)
        f = np.float32  # as published: near 0 the subtraction loses digits
        exponent = f(0.5 * beta_d) * (f(t) * f(t)) + f(beta_min) * f(t)
        return float(np.sqrt(f(np.exp(np.float64(exponent))) - f(1.0)))

    def _vp_time(self, sigma: Array) -> Array:
        beta_d, beta_min = self._constant("beta_d", 19.9), self._constant("beta_min", 0.1)
        return (np.sqrt(beta_min**2 + 2 * beta_d * np.log1p(sigma**2)) - beta_min) / beta_d

    @staticmethod
    def _nearest(u: Array, sigma: Array) -> Any:
        return np.abs(u[None, :] - sigma[:, None]).argmin(axis=1)
