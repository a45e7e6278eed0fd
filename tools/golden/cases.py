"""Lists the runs and schedules of the golden files, and computes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from golden.mixture import MIXTURE, Array
from golden.schedules import SCHEDULES, karras
from golden.solvers import SOLVERS, Run

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
COORDINATES = 8
MOST_NOISES = 24
REFERENCE_TOLERANCE = 1e-6
DIFFUSERS_TOLERANCE = 1e-4

Parameters = dict[str, Any]


def _drawn(seed: int, rows: int) -> list[Array]:
    """Standard normal, rounded to multiples of 2^-10 so that float32 and a short decimal hold them
    exactly."""
    values = np.random.default_rng(seed).standard_normal((rows, COORDINATES))
    return list(np.round(values * 1024) / 1024)


LATENTS = _drawn(1, 1)[0]
NOISES = _drawn(2, MOST_NOISES)


@dataclass(frozen=True)
class Levels:
    """The levels a run evaluates, and where it ends: 0 or a positive level."""

    name: str
    sigmas: tuple[float, ...]
    final: float

    @property
    def json_final(self) -> str | float:
        return "zero" if self.final == 0 else self.final


def karras_levels(n: int, *, to_zero: bool) -> Levels:
    """n Karras levels and 0, or the first n of n + 1, the last being final. The ends are exact."""
    count = n if to_zero else n + 1
    sigmas = karras(count, SIGMA_MIN, SIGMA_MAX)
    sigmas[-1] = SIGMA_MIN
    sigmas[0] = SIGMA_MAX
    if to_zero:
        return Levels(f"karras_{n}_to_zero", tuple(sigmas), 0.0)
    return Levels(f"karras_{n}_to_sigma_min", tuple(sigmas[:-1]), SIGMA_MIN)


IRREGULAR = (75.0, 31.5, 30.0, 7.25, 2.0, 1.75, 0.625, 0.05)
LEVELS_TO_ZERO = [
    *(karras_levels(n, to_zero=True) for n in (1, 2, 3, 5, 8, 16)),
    Levels("irregular_to_zero", IRREGULAR, 0.0),
]
LEVELS_TO_POSITIVE = [
    *(karras_levels(n, to_zero=False) for n in (1, 2, 3, 5, 8, 16)),
    Levels("irregular_to_positive", IRREGULAR, 0.03125),
]

CHURNS: list[Parameters] = [
    # Every lift at its bound of sqrt(2) - 1; the highest and the lowest levels are left alone.
    {"s_churn": 40.0, "s_min": 0.05, "s_max": 50.0, "s_noise": 1.003},
    # Below the bound from 5 levels on; both ends of the range are levels, and belong to it.
    {"s_churn": 2.0, "s_min": SIGMA_MIN, "s_max": SIGMA_MAX, "s_noise": 1.0},
]

PARAMETERS: dict[str, list[Parameters]] = {
    "euler": [{}, *CHURNS],
    "heun": [{}, *CHURNS],
    "euler_ancestral": [
        {"eta": 1.0, "s_noise": 1.0},
        {"eta": 0.5, "s_noise": 1.003},
        {"eta": 0.0, "s_noise": 1.0},
    ],
    "dpm2": [{}],
    "dpmpp_2m": [{}],
    "dpmpp_3m": [{"variant": "exact"}, {"variant": "published"}],
    "dpmpp_2m_sde": [
        {"eta": 1.0, "s_noise": 1.0},
        {"eta": 0.5, "s_noise": 1.003},
        {"eta": 0.0, "s_noise": 1.0},
    ],
    "unipc": [
        {"order": order, "variant": variant, "corrector": corrector}
        for order in (1, 2, 3)
        for variant in ("bh1", "bh2")
        for corrector in (True, False)
    ],
    "ipndm": [{}],
    "consistency": [{"sigma_eps": SIGMA_MIN}, {"sigma_eps": 0.0625}],
}

# Levels beyond the common ones: both sides of the bound of 15 at which the order is no longer
# lowered.
MORE_LEVELS = {"dpmpp_3m": [karras_levels(n, to_zero=True) for n in (14, 15)]}


def case_name(solver: str, parameters: Parameters, levels: Levels) -> str:
    words = [f"{key}={value}" for key, value in parameters.items()]
    return " ".join([solver, *words, levels.name])


def run_case(
    solver: str,
    parameters: Parameters,
    levels: Levels,
    noises: Sequence[Array] = NOISES,
) -> dict[str, Any]:
    run = Run([*levels.sigmas, levels.final], MIXTURE.denoise, noises)
    result = SOLVERS[solver](run, levels.sigmas[0] * LATENTS, **parameters)
    return {
        "name": case_name(solver, parameters, levels),
        "solver": solver,
        "parameters": parameters,
        "sigmas": list(levels.sigmas),
        "final": levels.json_final,
        "noises_used": run.noises_used,
        "evaluations": len(run.calls),
        "call_sigmas": [sigma for sigma, _ in run.calls],
        "call_states": [state.tolist() for _, state in run.calls],
        "expected": result.tolist(),
    }


def file_of(cases: list[dict[str, Any]], tolerance: float) -> dict[str, Any]:
    """A golden file: what its cases have in common, and the cases."""
    used = max(case["noises_used"] for case in cases)
    return {
        "tolerance": tolerance,
        "mixture": MIXTURE.to_json(),
        "latents": LATENTS.tolist(),
        "noises": [noise.tolist() for noise in NOISES[:used]],
        "cases": cases,
    }


def solver_file(solver: str) -> dict[str, Any]:
    levels = [*LEVELS_TO_ZERO, *MORE_LEVELS.get(solver, [])]
    if solver != "consistency":
        levels += LEVELS_TO_POSITIVE
    cases = [run_case(solver, p, each) for p in PARAMETERS[solver] for each in levels]
    return file_of(cases, REFERENCE_TOLERANCE)


def schedules_file() -> dict[str, Any]:
    cases = []
    for schedule, levels in SCHEDULES.items():
        ranges = [(SIGMA_MIN, SIGMA_MAX), (0.02, 100.0)]
        exponents: list[Parameters] = [{}]
        if schedule == "iddpm":
            ranges.append((SIGMA_MIN, 81.0))  # j_0 = 8: u_8 = 80.2, just above 80
        if schedule == "karras":
            exponents = [{"exponent": 7.0}, {"exponent": 3.0}, {"exponent": 1.0}]
        for extra in exponents:
            for low, high in ranges:
                for n in (1, 2, 3, 5, 10, 18, 40):
                    parameters = {"n": n, "sigma_min": low, "sigma_max": high, **extra}
                    cases.append(
                        {
                            "schedule": schedule,
                            "parameters": parameters,
                            "expected": levels(**parameters),
                        }
                    )
    return {"tolerance": REFERENCE_TOLERANCE, "cases": cases}


def reference_files() -> dict[str, dict[str, Any]]:
    """Every golden file but the one from diffusers, by name."""
    files = {f"{solver}.json": solver_file(solver) for solver in SOLVERS}
    return {**files, "schedules.json": schedules_file()}
