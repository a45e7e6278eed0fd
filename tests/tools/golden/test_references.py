"""Properties of the references that need no other implementation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from golden.mixture import MIXTURE, Array
from golden.schedules import SCHEDULES, exponential, iddpm, iddpm_levels, karras, ve, vp
from golden.solvers import SOLVERS, Run, moment


@pytest.mark.parametrize(
    ("solver", "parameters"),
    [
        ("euler", {"s_churn": 3.0}),
        ("euler", {"s_churn": 100.0, "s_min": 0.5, "s_max": 20.0}),
        ("heun", {"s_churn": 3.0}),
        ("euler_ancestral", {"eta": 1.0}),
        ("euler_ancestral", {"eta": 0.3}),
        ("dpmpp_2m_sde", {"eta": 1.0}),
        ("dpmpp_2m_sde", {"eta": 0.3}),
    ],
)
def test_noise_adds_up_to_the_final_level_where_all_data_is_one_point(
    solver: str, parameters: dict[str, Any]
) -> None:
    # D = 0, and every noise vector is a separate axis: the result is the list of its
    # coefficients.
    levels = [*karras(7, 0.1, 40.0), 0.05]
    axes = np.eye(9)

    def all_data_is_zero(x: Array, sigma: float) -> Array:
        return np.zeros_like(x)

    run = Run(levels, all_data_is_zero, noises=list(axes[1:]))
    coefficients = SOLVERS[solver](run, levels[0] * axes[0], **parameters)
    assert run.noises_used > 0
    assert np.linalg.norm(coefficients) == pytest.approx(0.05, rel=1e-12)


def test_consistency_result_is_the_last_denoised_state_and_forgets_no_noise() -> None:
    run = Run([10.0, 2.0, 0.5, 0.0], lambda x, sigma: x / 2, noises=[np.ones(1), -np.ones(1)])
    result = SOLVERS["consistency"](run, np.array([8.0]), sigma_eps=0.3)
    after_second = (4.0 + math.sqrt(4 - 0.09)) / 2
    assert result == pytest.approx((after_second - math.sqrt(0.25 - 0.09)) / 2, rel=1e-14)
    assert [sigma for sigma, _ in run.calls] == [10.0, 2.0, 0.5]


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "consistency"])
def test_one_level_to_zero_is_the_denoised_state(solver: str) -> None:
    run = Run([3.0, 0.0], MIXTURE.denoise)
    x = np.array([1.0, -2.0])
    assert SOLVERS[solver](run, x) == pytest.approx(MIXTURE.denoise(x, 3.0), rel=1e-14)
    assert len(run.calls) == 1


@pytest.mark.parametrize("h", [1e-3, 0.1, 1.0, 11.0])
def test_moments_follow_their_recurrence(h: float) -> None:
    assert moment(h, 0) == pytest.approx(-math.expm1(-h), rel=1e-14)
    for k in (1, 2, 3):
        assert h * moment(h, k) == pytest.approx(h - k * moment(h, k - 1), rel=1e-12, abs=1e-15)


def test_denoiser_is_the_posterior_mean() -> None:
    # Against the integral over x0 on a fine grid.
    grid = np.linspace(-6.0, 6.0, 200_001)
    prior = np.zeros_like(grid)
    for weight, mean, std in zip(MIXTURE.weights, MIXTURE.means, MIXTURE.stds, strict=True):
        prior += weight / std * np.exp(-0.5 * ((grid - mean) / std) ** 2)
    for sigma, x in itertools.product((0.1, 0.7, 5.0), (-1.5, 0.0, 0.6, 2.0)):
        posterior = prior * np.exp(-0.5 * ((x - grid) / sigma) ** 2)
        expected = float((posterior * grid).sum() / posterior.sum())
        assert MIXTURE.denoise(np.array([x]), sigma)[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels_descend_between_the_ends(schedule: str) -> None:
    low, high = 0.002, 81.0
    levels = SCHEDULES[schedule](18, low, high)
    assert all(a > b for a, b in itertools.pairwise(levels))
    assert SCHEDULES[schedule](1, low, high) == levels[:1]
    if schedule == "iddpm":  # it has the nearest of its own levels
        low, high = 0.0064, 80.2
    assert levels[0] == pytest.approx(high, rel=1e-4)
    assert levels[-1] == pytest.approx(low, rel=1e-2)


def test_schedules_have_the_values_of_their_papers() -> None:
    # Table 1 of 2206.00364: iDDPM starts at j_0 = 8, VP at t = 1.
    u = iddpm_levels()
    assert len(u) == 1001
    assert u[-1] == 0
    assert u[8] < 81.0 < u[7]
    # With N = 5: j_0 + floor((M - 1 - j_0) / (N - 1) i + 1/2).
    assert iddpm(5, 0.002, 81.0) == [u[j] for j in (8, 256, 504, 751, 999)]
    assert vp(3, 1e-3, 152.0)[0] == pytest.approx(math.sqrt(math.expm1(10.05)), rel=0.01)
    assert ve(9, 0.02, 100.0) == pytest.approx(exponential(9, 0.02, 100.0), rel=1e-12)
    assert karras(3, 1.0, 81.0, exponent=4.0)[1] == pytest.approx(16.0, rel=1e-12)
