"""The search for one solver and NFE: a coarse grid, then a pattern search around the best.

It knows neither the service nor images, only a function from tunings to distances. Given the same
distances it takes the same way, so a stopped search that remembers its distances goes on where it
was.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from skipstream_quality.settings import PLAIN, Tuning, two_levels

# Returns the distance of a tuning on a number of images; the same seeds for every tuning.
Evaluate = Callable[[Tuning, int], Awaitable[float]]

_RHO_RANGE = (0.0, 2.0)
_SIGMA_RANGE = (0.001, 1000.0)
# A relative step of a noise level, and steps of rho and strength; halved whenever nothing is
# better.
_FIRST_STEPS = {"rho": 0.05, "sigma": math.log(2.0), "strength": 0.5}


@dataclass(frozen=True)
class Plan:
    """Tunings that a search tries."""

    # rho of the coarse grid, 1 left out.
    rho: Sequence[float] = (0.8, 0.9, 0.95, 1.05, 1.1, 1.2)
    # Noise levels that part low, middle and high noise.
    sigma_split: tuple[float, float] = (0.3, 5.0)
    # Images for a point of the grid, and for one of the refinement.
    coarse_images: int = 256
    refine_images: int = 512
    # Best points of the grid that the refinement looks at again with more images.
    kept: int = 4
    # Steps of rho smaller than this are not tried.
    smallest_step: float = 0.0125
    # Bounds the refinement: a round tries each parameter in both directions.
    rounds: int = 6


@dataclass(frozen=True)
class Found:
    """A tuning and its distance on `images` images."""

    tuning: Tuning
    distance: float
    images: int


def profiles(split: tuple[float, float], rho: float) -> dict[str, Tuning]:
    """The noise profiles of the coarse grid, with their names in tables and plots."""
    low, high = split
    return {
        "constant": Tuning(rho, rho),
        "low noise": Tuning(rho, rho, ("window", (0.0, low))),
        "middle noise": Tuning(rho, rho, ("window", (low, high))),
        # A window needs no upper end; this one is above any schedule.
        "high noise": Tuning(rho, rho, ("window", (high, 1e6))),
        "ramp to high noise": Tuning(rho, rho, ("ramp", "strongest_at_high_sigma")),
        "ramp to low noise": Tuning(rho, rho, ("ramp", "strongest_at_low_sigma")),
        # The two sides of 1: with rho above 1, above it at low and below it at high noise.
        "mirrored": two_levels(rho, rho, low, 1.0, high, -1.0),
    }


async def search(plan: Plan, evaluate: Evaluate) -> Found:
    """The best tuning there is to find, rho 1 included, on plan.refine_images images."""
    grid = [Found(PLAIN, await evaluate(PLAIN, plan.coarse_images), plan.coarse_images)]
    for rho in plan.rho:
        for tuning in profiles(plan.sigma_split, rho).values():
            distance = await evaluate(tuning, plan.coarse_images)
            grid.append(Found(tuning, distance, plan.coarse_images))
    grid.sort(key=lambda found: found.distance)
    best = await _best(evaluate, plan, [PLAIN, *(found.tuning for found in grid[: plan.kept])])
    best = await _best(evaluate, plan, [best.tuning, *_depths(best.tuning)])
    return await _refine(plan, evaluate, best)


def _depths(tuning: Tuning) -> list[Tuning]:
    """The same change at the bottom only, at the top only, and opposite at the two ends."""
    change = tuning.bottom - 1
    ends = [(change, 0.0), (0.0, change), (2 * change, 0.0), (change, -change), (-change, change)]
    return [
        replace(tuning, bottom=_clamp_rho(1 + bottom), top=_clamp_rho(1 + top))
        for bottom, top in ends
    ]


async def _refine(plan: Plan, evaluate: Evaluate, best: Found) -> Found:
    """Compass search: moves to the best neighbour, or halves the steps where there is none."""
    scale = 1.0
    for _ in range(plan.rounds):
        if scale * _FIRST_STEPS["rho"] < plan.smallest_step * (1 - 1e-9):
            break
        neighbours = neighbours_of(best.tuning, scale)
        found = await _best(evaluate, plan, [best.tuning, *neighbours])
        if found.tuning == best.tuning:
            scale /= 2
        best = found
    return best


async def _best(evaluate: Evaluate, plan: Plan, tunings: Sequence[Tuning]) -> Found:
    images = plan.refine_images
    found = [
        Found(tuning, await evaluate(tuning, images), images) for tuning in dict.fromkeys(tunings)
    ]
    return min(found, key=lambda one: one.distance)


def neighbours_of(tuning: Tuning, scale: float) -> list[Tuning]:
    """One parameter changed by a step up or down; rho also at both ends together."""
    step = scale * _FIRST_STEPS["rho"]
    changed = [
        replace(
            tuning,
            bottom=_clamp_rho(tuning.bottom + sign * bottom * step),
            top=_clamp_rho(tuning.top + sign * top * step),
        )
        for bottom, top in ((1, 1), (1, 0), (0, 1))
        for sign in (1, -1)
    ]
    if tuning.noise is not None:
        changed += [
            replace(tuning, noise=noise) for noise in _noise_neighbours(tuning.noise, scale)
        ]
    return [one for one in dict.fromkeys(changed) if one != tuning]


def _noise_neighbours(noise: tuple[str, Any], scale: float) -> list[tuple[str, Any]]:
    kind, value = noise
    factor = math.exp(scale * _FIRST_STEPS["sigma"])
    found: list[tuple[str, Any]] = []
    if kind == "window":
        # An end at 0 or beyond every schedule stays there.
        for end, power in itertools.product((0, 1), (1, -1)):
            if _SIGMA_RANGE[0] <= value[end] <= _SIGMA_RANGE[1]:
                moved = list(value)
                moved[end] = _clamp_sigma(moved[end] * factor**power)
                if moved[0] < moved[1]:
                    found.append((kind, tuple(moved)))
    elif kind == "knots":
        for i, (sigma, strength) in enumerate(value):
            for power in (1, -1):
                knots = list(value)
                knots[i] = (_clamp_sigma(sigma * factor**power), strength)
                if all(a[0] < b[0] for a, b in itertools.pairwise(knots)):
                    found.append((kind, tuple(knots)))
                knots = list(value)
                moved_strength = strength + power * scale * _FIRST_STEPS["strength"]
                knots[i] = (sigma, round(min(1.0, max(-1.0, moved_strength)), 4))
                found.append((kind, tuple(knots)))
    return found


def _clamp_rho(rho: float) -> float:
    return round(min(_RHO_RANGE[1], max(_RHO_RANGE[0], rho)), 4)


def _clamp_sigma(sigma: float) -> float:
    return round(min(_SIGMA_RANGE[1], max(_SIGMA_RANGE[0], sigma)), 4)
