"""Sampler settings to be compared, and the JSON form of skip-tuning that model files use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from skipstream import (
    Churn,
    LinearDepth,
    NoiseKnots,
    NoiseRamp,
    NoiseWindow,
    RequestOptions,
)
from skipstream.options import NoiseProfile, SolverName

from skipstream_quality.errors import QualityError

_RAMPS = {"strongest_at_high_sigma": "high", "strongest_at_low_sigma": "low"}


@dataclass(frozen=True)
class Tuning:
    """rho from the deepest skip to the shallowest, and where in noise level it applies."""

    bottom: float = 1.0
    top: float = 1.0
    # "noise" of a preset as nested tuples: ("window", (lo, hi)), ("ramp", "strongest_at_..."),
    # ("knots", ((sigma, strength), ...)). None: everywhere.
    noise: tuple[str, Any] | None = None

    @property
    def plain(self) -> bool:
        """True if this is the network as it was trained."""
        return self.bottom == 1.0 and self.top == 1.0

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Tuning:
        """From the depth and noise fields of a preset, other than "rho_list"."""
        unknown = value.keys() - {"rho", "rho_bottom", "rho_top", "noise"}
        if unknown:
            raise QualityError(f"a tuning has no field {min(unknown)!r}")
        if "rho" in value and ("rho_bottom" in value or "rho_top" in value):
            raise QualityError("a tuning has rho, or rho_bottom and rho_top, not both")
        if ("rho_bottom" in value) != ("rho_top" in value):
            raise QualityError("rho_bottom and rho_top come together")
        bottom = _number(value.get("rho_bottom", value.get("rho", 1.0)), "rho", 0, 2)
        top = _number(value.get("rho_top", value.get("rho", 1.0)), "rho", 0, 2)
        return Tuning(bottom, top, _noise_from_json(value["noise"]) if "noise" in value else None)

    def as_json(self) -> dict[str, Any]:
        """As a preset says it."""
        depth: dict[str, Any]
        if self.bottom == self.top:
            depth = {"rho": self.bottom}
        else:
            depth = {"rho_bottom": self.bottom, "rho_top": self.top}
        if self.noise is not None and not self.plain:
            kind, value = self.noise
            listed: Any = value
            if kind == "window":
                listed = list(value)
            elif kind == "knots":
                listed = [list(knot) for knot in value]
            depth["noise"] = {kind: listed}
        return depth

    def options(self) -> RequestOptions:
        """Fields of a request for it."""
        options: RequestOptions = {"rho": LinearDepth(self.bottom, self.top)}
        if self.bottom == self.top:
            options["rho"] = self.bottom
        if self.noise is not None and not self.plain:
            options["noise"] = _noise_option(*self.noise)
        return options

    def __str__(self) -> str:
        """Short, for tables: `1.05`, `0.9 to 1`, `1.05, sigma 0.3 to 5`."""
        depth = f"{self.bottom:g}"
        if self.bottom != self.top:
            depth += f" to {self.top:g}"
        if self.noise is None or self.plain:
            return depth
        kind, value = self.noise
        if kind == "window":
            return f"{depth}, sigma {value[0]:g} to {value[1]:g}"
        if kind == "ramp":
            return f"{depth}, {value.replace('_', ' ').replace('sigma', 'noise')}"
        knots = ", ".join(f"{strength:+.2g} at {sigma:g}" for sigma, strength in value)
        return f"{depth}, strength {knots}"


PLAIN = Tuning()


@dataclass(frozen=True)
class Setting:
    """One way to sample."""

    solver: str
    nfe: int
    tuning: Tuning = PLAIN
    guidance: float = 1.0
    s_churn: float = 0.0

    def options(self) -> RequestOptions:
        """Fields of a request for it, seeds and classes left out."""
        options: RequestOptions = {
            "solver": cast(SolverName, self.solver),
            "nfe": self.nfe,
            **self.tuning.options(),
        }
        if self.guidance != 1.0:
            options["guidance"] = self.guidance
        if self.s_churn:
            options["churn"] = Churn(s_churn=self.s_churn)
        return options

    def __str__(self) -> str:
        text = f"{self.solver}, NFE {self.nfe}, rho {self.tuning}"
        if self.guidance != 1.0:
            text += f", guidance {self.guidance:g}"
        if self.s_churn:
            text += f", churn {self.s_churn:g}"
        return text


def two_levels(
    bottom: float, top: float, sigma_low: float, low: float, sigma_high: float, high: float
) -> Tuning:
    """A profile with two knots: strength `low` up to sigma_low and `high` from sigma_high on.

    Strengths from -1 to 1; opposite signs put rho on both sides of 1 in one request.
    """
    knots = ((round(sigma_low, 4), round(low, 4)), (round(sigma_high, 4), round(high, 4)))
    return Tuning(bottom, top, ("knots", knots))


def _noise_from_json(noise: Any) -> tuple[str, Any]:
    if not isinstance(noise, Mapping) or len(noise) != 1:
        raise QualityError("noise must be exactly one of window, ramp and knots")
    kind, value = next(iter(noise.items()))
    if kind == "window":
        if not isinstance(value, list) or len(value) != 2:
            raise QualityError("window must be [sigma_lo, sigma_hi]")
        low = _number(value[0], "sigma_lo", 0, 1e12)
        return kind, (low, _number(value[1], "sigma_hi", low, 1e12))
    if kind == "ramp":
        if value not in _RAMPS:
            raise QualityError(f"ramp must be one of {', '.join(_RAMPS)}")
        return kind, value
    if kind == "knots":
        if not isinstance(value, list) or not 1 <= len(value) <= 64:
            raise QualityError("knots must be a list of 1 to 64 [sigma, strength] pairs")
        knots = []
        least = 0.0
        for knot in value:
            if not isinstance(knot, list) or len(knot) != 2:
                raise QualityError("knots must be [sigma, strength] pairs")
            sigma = _number(knot[0], "sigma of a knot", least, 1e12)
            if sigma <= least:
                raise QualityError("sigma must be above 0 and increase from knot to knot")
            knots.append((sigma, _number(knot[1], "strength of a knot", -1, 1)))
            least = sigma
        return kind, tuple(knots)
    raise QualityError(f"noise has no form {kind!r}: it is one of window, ramp and knots")


def _noise_option(kind: str, value: Any) -> NoiseProfile:
    if kind == "window":
        return NoiseWindow(value[0], value[1])
    if kind == "ramp":
        return NoiseRamp("high" if value == "strongest_at_high_sigma" else "low")
    return NoiseKnots(value)


def _number(value: Any, what: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise QualityError(f"{what} must be a number, not {value!r}")
    if not low <= value <= high:
        raise QualityError(f"{what} must be from {low:g} to {high:g}, not {value:g}")
    return float(value)
