"""The references have the order that their papers claim, so the golden data can be trusted.

Every solver starts from exact states, with exact history, and runs to a positive level. Errors are
taken against a Runge-Kutta solution with steps small enough to be exact here.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from golden.mixture import MIXTURE, Array
from golden.solvers import SOLVERS, Past, Run

START = 4.0 * np.linspace(-1.5, 1.4, 8)
COUNTS = (32, 64, 128, 256)


def equal_in_log(n: int) -> list[float]:
    return [float(sigma) for sigma in np.geomspace(4.0, 0.3, n + 1)]


def equal_in_sigma(n: int) -> list[float]:
    return [float(sigma) for sigma in np.linspace(4.0, 1.0, n + 1)]


def exact_states(levels: list[float]) -> list[Array]:
    """The solution of dx / dlog(sigma) = x - D(x, sigma) at each level."""

    def slope(x: Array, log_sigma: float) -> Array:
        return x - MIXTURE.denoise(x, math.exp(log_sigma))

    states = [START]
    for sigma, following in itertools.pairwise(levels):
        x, at = states[-1], math.log(sigma)
        count = max(4, math.ceil(abs(math.log(following / sigma)) * 400))
        step = math.log(following / sigma) / count
        for _ in range(count):
            k1 = slope(x, at)
            k2 = slope(x + step / 2 * k1, at + step / 2)
            k3 = slope(x + step / 2 * k2, at + step / 2)
            k4 = slope(x + step * k3, at + step)
            x, at = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4), at + step
        states.append(x)
    return states


def measured_order(solver: str, history: int, **parameters: Any) -> float:
    """The slope of the error from COUNTS[-2] to COUNTS[-1] steps, of which the first `history` are
    exact."""
    levels_of = equal_in_sigma if solver == "ipndm" else equal_in_log
    errors = []
    for n in COUNTS[-2:]:
        levels = levels_of(n)
        states = exact_states(levels)
        past = []
        for sigma, x in zip(levels[:history], states[:history], strict=True):
            denoised = MIXTURE.denoise(x, sigma)
            past.append(Past(sigma, (x - denoised) / sigma if solver == "ipndm" else denoised))
        run = Run(levels[history:], MIXTURE.denoise, history=past)
        result = SOLVERS[solver](run, states[history], **parameters)
        errors.append(float(np.linalg.norm(result - states[-1])))
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize(
    ("solver", "history", "parameters", "order"),
    [
        ("euler", 0, {}, 1),
        ("heun", 0, {}, 2),
        ("dpm2", 0, {}, 2),
        ("dpmpp_2m", 1, {}, 2),
        ("dpmpp_3m", 2, {"variant": "exact"}, 3),
        # Half of the quadratic term costs an order.
        ("dpmpp_3m", 2, {"variant": "published"}, 2),
        ("ipndm", 3, {}, 4),
        ("euler_ancestral", 0, {"eta": 0.0}, 1),
        ("dpmpp_2m_sde", 1, {"eta": 0.0}, 2),
    ],
)
def test_error_falls_with_the_order_of_the_solver(
    solver: str, history: int, parameters: dict[str, Any], order: int
) -> None:
    assert measured_order(solver, history, **parameters) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("corrector", [False, True])
def test_unipc_has_order_p_and_one_more_with_the_corrector(
    order: int, variant: str, corrector: bool
) -> None:
    measured = measured_order("unipc", order - 1, order=order, variant=variant, corrector=corrector)
    assert measured == pytest.approx(order + corrector, abs=0.15)
