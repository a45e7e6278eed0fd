"""Noise levels, written from Table 1 of "Elucidating the Design Space of Diffusion-Based Generative
Models" (2206.00364), in float64. Every function returns n positive levels, descending; the level
after the last (0, or a positive one) is not among them. n = 1 gives the first level alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

# The constants of the VP and iDDPM columns.
BETA_D, BETA_MIN = 19.9, 0.1
IDDPM_LEVELS, IDDPM_C1, IDDPM_C2 = 1000, 0.001, 0.008


def _ramp(n: int, first: float, last: float) -> list[float]:
    """n equally spaced values from first to last."""
    if n < 1:
        raise ValueError(f"a schedule has at least one level, not {n}")
    if n == 1:
        return [first]
    return [first + i / (n - 1) * (last - first) for i in range(n)]


def karras(n: int, sigma_min: float, sigma_max: float, exponent: float = 7.0) -> list[float]:
    """Equation 5: equally spaced in sigma^(1 / exponent)."""
    ends = sigma_max ** (1 / exponent), sigma_min ** (1 / exponent)
    return [root**exponent for root in _ramp(n, *ends)]


def exponential(n: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Equally spaced in log sigma."""
    return [math.exp(value) for value in _ramp(n, math.log(sigma_max), math.log(sigma_min))]


def linear(n: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Equally spaced in sigma."""
    return _ramp(n, sigma_max, sigma_min)


def _vp_sigma(t: float) -> float:
    return math.sqrt(math.expm1(BETA_D * t * t / 2 + BETA_MIN * t))


def _vp_time(sigma: float) -> float:
    """The inverse: the positive root of BETA_D t^2 / 2 + BETA_MIN t = log(1 + sigma^2)."""
    exponent = math.log1p(sigma * sigma)
    return (math.sqrt(BETA_MIN**2 + 2 * BETA_D * exponent) - BETA_MIN) / BETA_D


def vp(n: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Equally spaced in the time of the VP process (Table 1 has t from 1 to epsilon_s)."""
    return [_vp_sigma(t) for t in _ramp(n, _vp_time(sigma_max), _vp_time(sigma_min))]


def ve(n: int, sigma_min: float, sigma_max: float) -> list[float]:
    """sigma^2 = t and t_i = sigma_max^2 (sigma_min^2 / sigma_max^2)^(i / (n - 1)): the levels of
    `exponential`, by the formula of the VE column."""
    ratio = sigma_min**2 / sigma_max**2
    return [math.sqrt(sigma_max**2 * ratio**power) for power in _ramp(n, 0.0, 1.0)]


def iddpm_levels() -> list[float]:
    """u_0 .. u_M of the iDDPM column; u_M = 0."""

    def alpha_bar(j: int) -> float:
        return math.sin(math.pi / 2 * j / (IDDPM_LEVELS * (IDDPM_C2 + 1))) ** 2

    levels = [0.0]
    for j in range(IDDPM_LEVELS, 0, -1):
        ratio = max(alpha_bar(j - 1) / alpha_bar(j), IDDPM_C1)
        levels.append(math.sqrt((levels[-1] ** 2 + 1) / ratio - 1))
    return levels[::-1]


def iddpm(n: int, sigma_min: float, sigma_max: float) -> list[float]:
    """n of the trained levels inside [sigma_min, sigma_max], equally spaced in their index: Table 1
    with j_0 the first level not above sigma_max, and the last one not below sigma_min in place of M
    - 1."""
    inside = [u for u in iddpm_levels() if sigma_min <= u <= sigma_max]
    if len(inside) < n:
        raise ValueError(f"only {len(inside)} levels in [{sigma_min}, {sigma_max}]")
    if n == 1:
        return inside[:1]
    # floor(i (m - 1) / (n - 1) + 1/2) in integers.
    return [inside[(2 * i * (len(inside) - 1) + n - 1) // (2 * (n - 1))] for i in range(n)]


SCHEDULES: dict[str, Callable[..., list[float]]] = {
    "karras": karras,
    "exponential": exponential,
    "linear": linear,
    "vp": vp,
    "ve": ve,
    "iddpm": iddpm,
}
