"""The same runs through the schedulers of diffusers, which step in float32 on levels in float32.

The denoiser stays ours, in float64; a scheduler only turns its answers into the next state. Nothing
but this module needs diffusers and torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import (
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import scheduling_edm_dpmsolver_multistep

from golden.cases import (
    DIFFUSERS_TOLERANCE,
    LATENTS,
    NOISES,
    SIGMA_MAX,
    SIGMA_MIN,
    Levels,
    Parameters,
    case_name,
    file_of,
)
from golden.mixture import MIXTURE, Array

COUNTS = (8, 10, 16, 20)
SIGMA_DATA = 0.5


@dataclass(frozen=True)
class Form:
    """Relates a scheduler's state and network output to x = x0 + sigma * noise and to D."""

    # State of the scheduler = scale(sigma) * x.
    scale: Callable[[float], float]
    # (x, D, sigma) -> what the scheduler calls the output of the model.
    output: Callable[[Array, Array, float], Array]


def _edm_output(x: Array, denoised: Array, sigma: float) -> Array:
    """F of D = c_skip x + c_out F, which the EDM schedulers undo (2206.00364, equation 7)."""
    total = sigma**2 + SIGMA_DATA**2
    c_skip, c_out = SIGMA_DATA**2 / total, sigma * SIGMA_DATA / total**0.5
    output: Array = (denoised - c_skip * x) / c_out
    return output


EDM = Form(scale=lambda sigma: 1.0, output=_edm_output)
# Variance preserving: alpha = 1 / sqrt(1 + sigma^2), and the network predicts x0 itself.
VP = Form(
    scale=lambda sigma: float(1 / np.sqrt(1 + sigma**2)),
    output=lambda x, denoised, sigma: denoised,
)


def _tensor(values: Array) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1)


def _run(
    name: str, scheduler: Any, form: Form, solver: str, parameters: Parameters
) -> dict[str, Any]:
    """One run of a scheduler whose time steps are set."""
    scheduler.set_begin_index(0)  # time steps of near levels may round to the same number
    *sigmas, final = (float(sigma) for sigma in scheduler.sigmas)
    levels = Levels(name, tuple(sigmas), final)
    drawn = 0

    def draw(shape: Any, **_: Any) -> torch.Tensor:
        nonlocal drawn
        drawn += 1
        return _tensor(NOISES[drawn - 1]).reshape(shape)

    state = _tensor(LATENTS * sigmas[0] * form.scale(sigmas[0]))
    call_states = []
    with mock.patch.object(scheduling_edm_dpmsolver_multistep, "randn_tensor", draw):
        for sigma, timestep in zip(sigmas, scheduler.timesteps, strict=True):
            x = state.double().numpy().reshape(-1) / form.scale(sigma)
            call_states.append(x.tolist())
            scheduler.scale_model_input(state, timestep)  # its result is for a network
            output = form.output(x, MIXTURE.denoise(x, sigma), sigma)
            state = scheduler.step(_tensor(output), timestep, state).prev_sample
    result = state.double().numpy().reshape(-1) / form.scale(final)
    if not np.isfinite(result).all():
        raise ValueError(f"{name}: diffusers returns {result}")
    # The step to 0 draws noise and multiplies it by 0.
    unused = 1 if drawn and final == 0 else 0
    return {
        "name": case_name(solver, parameters, levels),
        "solver": solver,
        "parameters": parameters,
        "sigmas": sigmas,
        "final": levels.json_final,
        "noises_used": drawn - unused,
        "evaluations": len(call_states),
        "call_sigmas": sigmas,
        "call_states": call_states,
        "expected": result.tolist(),
    }


def _edm_cases() -> list[dict[str, Any]]:
    settings: list[tuple[str, Parameters, Any]] = [
        ("euler", {}, lambda: EDMEulerScheduler()),
        ("dpmpp_2m", {}, lambda: EDMDPMSolverMultistepScheduler(solver_order=2)),
        (
            "dpmpp_3m",
            {"variant": "published"},
            lambda: EDMDPMSolverMultistepScheduler(solver_order=3),
        ),
        (
            "dpmpp_2m_sde",
            {"eta": 1.0, "s_noise": 1.0},
            lambda: EDMDPMSolverMultistepScheduler(
                solver_order=2, algorithm_type="sde-dpmsolver++"
            ),
        ),
    ]
    cases = []
    for solver, parameters, make in settings:
        for n in COUNTS:
            scheduler = make()
            scheduler.set_timesteps(n)
            cases.append(_run(f"karras_{n}_to_zero", scheduler, EDM, solver, parameters))
    return cases


def _unipc(order: int, variant: str, corrector: bool, n: int, **settings: Any) -> Any:
    scheduler = UniPCMultistepScheduler(
        solver_order=order,
        solver_type=variant,
        prediction_type="sample",
        use_karras_sigmas=True,
        sigma_min=SIGMA_MIN,
        sigma_max=SIGMA_MAX,
        disable_corrector=[] if corrector else list(range(n)),
        **settings,
    )
    scheduler.set_timesteps(n)
    return scheduler


def _unipc_cases() -> list[dict[str, Any]]:
    cases = []
    for order in (1, 2, 3):
        for variant in ("bh1", "bh2"):
            for corrector in (True, False):
                parameters = {"order": order, "variant": variant, "corrector": corrector}
                for n in COUNTS:
                    if variant == "bh2":
                        scheduler = _unipc(order, variant, corrector, n)
                        name = f"karras_{n}_to_zero"
                        cases.append(_run(name, scheduler, VP, "unipc", parameters))
                    # To a positive level: n of n + 1 Karras levels, the last being final, and no
                    # lowering of the order. For bh1 it is the only way that diffusers has: its B is
                    # -h, which is infinite in the step to 0, where it multiplies it by 0.
                    sigmas = _unipc(order, variant, corrector, n + 1).sigmas[:-1]
                    scheduler = _unipc(order, variant, corrector, n, lower_order_final=False)
                    scheduler.sigmas = sigmas
                    name = f"karras_{n}_to_sigma_min"
                    cases.append(_run(name, scheduler, VP, "unipc", parameters))
    return cases


def diffusers_file() -> dict[str, Any]:
    return file_of([*_edm_cases(), *_unipc_cases()], DIFFUSERS_TOLERANCE)
