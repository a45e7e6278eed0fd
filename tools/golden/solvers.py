"""Every solver, written from its paper as the loop that the paper has, in float64.

The form is variance exploding: x = x0 + sigma * noise, so alpha = 1, lambda = -log(sigma) and a
step from s to s' has h = lambda' - lambda = log(s / s'). Between two levels the exact solution is

    x' = exp(-h) x + integral_0^1 h exp(h (t - 1)) D(t) dt,   t = (lambda - lambda_s) / h in [0, 1]

(proposition 4.1 of DPM-Solver++, 2211.01095). Multistep solvers put a polynomial in t for D; its
coefficients meet the moments I_k = integral_0^1 h exp(h (t - 1)) t^k dt, which are computed here by
quadrature rather than by the recurrences of the published code.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Denoiser = Callable[[Array, float], Array]

# Exact to rounding for the moments of any step with h < 20.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True)
class Past:
    """State of a multistep solver at an earlier level: D there, or for ipndm the slope."""

    sigma: float
    value: Array


@dataclass
class Run:
    """One trajectory in the making: the levels, the denoiser, the noise, and what was asked of
    both.

    `levels` holds the n evaluated levels and then the final one, which may be 0.
    """

    levels: list[float]
    denoiser: Denoiser
    noises: Sequence[Array] = ()
    # Levels before levels[0], oldest first; lets a multistep solver start at its full order.
    history: Sequence[Past] = ()
    calls: list[tuple[float, Array]] = field(default_factory=list)
    noises_used: int = 0

    @property
    def n(self) -> int:
        return len(self.levels) - 1

    @property
    def ends_at_zero(self) -> bool:
        return self.levels[-1] == 0

    def denoise(self, x: Array, sigma: float) -> Array:
        self.calls.append((sigma, x.copy()))
        return self.denoiser(x, sigma)

    def slope(self, x: Array, sigma: float) -> Array:
        """dx / dsigma of the probability flow ODE."""
        slope: Array = (x - self.denoise(x, sigma)) / sigma
        return slope

    def noise(self) -> Array:
        self.noises_used += 1
        return self.noises[self.noises_used - 1]

    def intervals(self) -> list[tuple[float, float]]:
        return list(itertools.pairwise(self.levels))


# ---- one-step solvers ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Churn:
    """The stochastic part of Algorithm 2 of 2206.00364."""

    s_churn: float = 0.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0

    def lift(self, run: Run, x: Array, sigma: float) -> tuple[Array, float]:
        """Raises the noise level of x; takes one noise vector where gamma > 0."""
        gamma = 0.0
        if self.s_min <= sigma <= self.s_max:
            gamma = min(self.s_churn / run.n, math.sqrt(2) - 1)
        if gamma == 0:
            return x, sigma
        lifted = sigma * (1 + gamma)
        return x + math.sqrt(lifted**2 - sigma**2) * self.s_noise * run.noise(), lifted


def euler(run: Run, x: Array, **churn: float) -> Array:
    """The first-order part of Algorithm 2; without churn the same as DDIM."""
    for sigma, following in run.intervals():
        x, lifted = Churn(**churn).lift(run, x, sigma)
        x = x + (following - lifted) * run.slope(x, lifted)
    return x


def heun(run: Run, x: Array, **churn: float) -> Array:
    """Algorithms 1 and 2 of 2206.00364: trapezoidal, but Euler where the next level is 0."""
    for sigma, following in run.intervals():
        x, lifted = Churn(**churn).lift(run, x, sigma)
        slope = run.slope(x, lifted)
        predicted = x + (following - lifted) * slope
        if following > 0:
            slope = (slope + run.slope(predicted, following)) / 2
        x = x + (following - lifted) * slope
    return x


def dpm2(run: Run, x: Array) -> Array:
    """DPM-Solver-2 (2206.00927) as Karras et al. compare with it: the midpoint rule, its midpoint
    halfway in log sigma; Euler where the next level is 0."""
    for sigma, following in run.intervals():
        slope = run.slope(x, sigma)
        if following > 0:
            middle = math.sqrt(sigma * following)
            slope = run.slope(x + (middle - sigma) * slope, middle)
        x = x + (following - sigma) * slope
    return x


def euler_ancestral(run: Run, x: Array, eta: float = 1.0, s_noise: float = 1.0) -> Array:
    """An Euler step to below the next level, then noise up to it. At eta = 1 the noise has the
    variance of the DDPM posterior (2006.11239, equation 7), at eta = 0 this is Euler."""
    for sigma, following in run.intervals():
        up = min(
            following,
            eta * math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2),
        )
        down = math.sqrt(following**2 - up**2)
        x = x + (down - sigma) * run.slope(x, sigma)
        if up > 0:
            x = x + s_noise * up * run.noise()
    return x


def consistency(run: Run, x: Array, sigma_eps: float = 0.002) -> Array:
    """Algorithm 1 of 2303.01469. x_T is the state at the first level; the result is the last D."""
    x = run.denoise(x, run.levels[0])
    for sigma in run.levels[1:-1]:
        if sigma > sigma_eps:
            x = x + math.sqrt(sigma**2 - sigma_eps**2) * run.noise()
        x = run.denoise(x, sigma)
    return x


# ---- multistep solvers ---------------------------------------------------------------------------


def moment(h: float, k: int) -> float:
    """I_k = integral_0^1 h exp(h (t - 1)) t^k dt."""
    t = (_NODES + 1) / 2
    return float(np.sum(_WEIGHTS / 2 * h * np.exp(h * (t - 1)) * t**k))


def _position(past: Past, sigma: float, h: float) -> float:
    """Position of an earlier level on the t axis of the step from sigma: negative."""
    return math.log(sigma / past.sigma) / h


def ipndm(run: Run, x: Array) -> Array:
    """Adams-Bashforth of order 4 with the coefficients of equal steps (the linear multistep of
    PNDM, 2202.09778, without its Runge-Kutta start), on dx / dsigma; lower orders while the history
    fills; Euler to 0."""
    weights = [
        [1.0],
        [3 / 2, -1 / 2],
        [23 / 12, -16 / 12, 5 / 12],
        [55 / 24, -59 / 24, 37 / 24, -9 / 24],
    ]
    slopes = [past.value for past in reversed(run.history)]  # newest first
    for sigma, following in run.intervals():
        slopes = [run.slope(x, sigma), *slopes][:4]
        order = 1 if following == 0 else len(slopes)
        combined = sum(w * d for w, d in zip(weights[order - 1], slopes, strict=False))
        x = x + (following - sigma) * combined
    return x


def dpmpp_2m(run: Run, x: Array) -> Array:
    """DPM-Solver++(2M), Algorithm 2 of 2211.01095."""
    return dpmpp_2m_sde(run, x, eta=0.0)


def dpmpp_2m_sde(run: Run, x: Array, eta: float = 1.0, s_noise: float = 1.0) -> Array:
    """SDE-DPM-Solver++(2M) of 2211.01095 at eta = 1, DPM-Solver++(2M) at eta = 0: over a step the
    old noise decays by exp(-eta h) more than in the ODE, and is made up for by noise drawn anew."""
    past = list(run.history)
    for sigma, following in run.intervals():
        denoised = run.denoise(x, sigma)
        if following == 0:
            return denoised
        h = math.log(sigma / following)
        towards = denoised
        if past:
            h_last = math.log(past[-1].sigma / sigma)
            r = h_last / h
            towards = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * past[-1].value
        gain = -math.expm1(-(1 + eta) * h)
        x = following / sigma * math.exp(-eta * h) * x + gain * towards
        if eta > 0:
            x = x + s_noise * following * math.sqrt(-math.expm1(-2 * eta * h)) * run.noise()
        past.append(Past(sigma, denoised))
    return x


# Share of the quadratic term of D that dpmpp_3m integrates; see there.
QUADRATIC_WEIGHT = {"exact": 1.0, "published": 0.5}


def dpmpp_3m(run: Run, x: Array, variant: str = "exact") -> Array:
    """DPM-Solver++(3M): D is the parabola through this level and the two before.

    "exact" integrates that parabola. "published" is what the code published with 2211.01095,
    diffusers and k-diffusion compute: they take half of its quadratic term (their D2 is the second
    divided difference, where their phi_3 is meant for the second derivative, which is twice that;
    the singlestep solver has the 2).

    Where the run ends at 0 after fewer than 15 levels, the last step but one has order 2
    (diffusers' lower_order_final).
    """
    past = list(run.history)
    for i, (sigma, following) in enumerate(run.intervals()):
        denoised = run.denoise(x, sigma)
        if following == 0:
            return denoised
        h = math.log(sigma / following)
        lowered = run.ends_at_zero and run.n < 15 and i == run.n - 2
        order = min(3, len(past) + 1, 2 if lowered else 3)
        x = math.exp(-h) * x + moment(h, 0) * denoised
        if order == 2:
            # The midpoint form of 2M, not I_1.
            first = (past[-1].value - denoised) / _position(past[-1], sigma, h)
            x = x + moment(h, 0) / 2 * first
        if order == 3:
            # Newton's form: D(t) = D_0 + first t + second t (t - t_1).
            t1, t2 = (_position(past[-k], sigma, h) for k in (1, 2))
            first = (past[-1].value - denoised) / t1
            second = ((past[-2].value - past[-1].value) / (t2 - t1) - first) / t2
            x = x + moment(h, 1) * (first - t1 * second)
            x = x + QUADRATIC_WEIGHT[variant] * moment(h, 2) * second
        past.append(Past(sigma, denoised))
    return x


def _unipc_weights(h: float, positions: list[float], variant: str) -> list[float]:
    """Weights c_m of (D_m - D_0) / r_m in one update; r_m are the positions.

    2302.04867 asks sum_m c_m r_m^(k-1) = I_k for k = 1 .. their number, with c_m = B(h) a_m: B
    cancels in what solves the system. It matters where there is one unknown (UniP-2, UniC-1), for
    which the paper and its code take a = 1/2 for every h.
    """
    if len(positions) == 1:
        b = {"bh1": h, "bh2": -math.expm1(-h)}[variant]
        return [b / 2]
    count = len(positions)
    powers = np.array([[r ** (k - 1) for r in positions] for k in range(1, count + 1)])
    weights = np.linalg.solve(powers, np.array([moment(h, k) for k in range(1, count + 1)]))
    return [float(weight) for weight in weights]


def _unipc_update(
    x: Array,
    here: Past,
    following: float,
    before: Sequence[Past],
    arrived: Array | None,
    variant: str,
) -> Array:
    """x from here.sigma to `following`: UniP, or UniC where D `arrived` at the end of the step."""
    h = math.log(here.sigma / following)
    points = [(_position(past, here.sigma, h), past.value) for past in before]
    if arrived is not None:
        points.append((1.0, arrived))
    result: Array = math.exp(-h) * x + moment(h, 0) * here.value
    if points:
        weights = _unipc_weights(h, [r for r, _ in points], variant)
        for weight, (r, value) in zip(weights, points, strict=True):
            result = result + weight / r * (value - here.value)
    return result


def unipc(
    run: Run, x: Array, order: int = 2, variant: str = "bh2", corrector: bool = True
) -> Array:
    """UniPC-p (2302.04867, multistep, data prediction). The corrector reuses the evaluation at the
    predicted point; the last point is not corrected. Orders rise while the history fills and, where
    the run ends at 0, fall with the number of steps left."""
    past = list(run.history)
    before: list[Past] = []  # what the predictor that arrived here used
    start = x  # the state that it left from
    for i, (sigma, following) in enumerate(run.intervals()):
        denoised = run.denoise(x, sigma)
        if corrector and i > 0:
            x = _unipc_update(start, past[-1], sigma, before, denoised, variant)
        if following == 0:
            return denoised
        this_order = min(order, len(past) + 1, run.n - i if run.ends_at_zero else order)
        before = [past[-m] for m in range(1, this_order)]
        past.append(Past(sigma, denoised))
        start = x
        x = _unipc_update(start, past[-1], following, before, None, variant)
    return x


SOLVERS: dict[str, Callable[..., Array]] = {
    "euler": euler,
    "heun": heun,
    "euler_ancestral": euler_ancestral,
    "dpm2": dpm2,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_3m": dpmpp_3m,
    "dpmpp_2m_sde": dpmpp_2m_sde,
    "unipc": unipc,
    "ipndm": ipndm,
    "consistency": consistency,
}
