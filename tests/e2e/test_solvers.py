"""Every solver and schedule of the API on the default model, alone and all in one batch."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import skipstream
from harness import SOLVERS, all_at_once, assert_same_image, few_evaluations, pixels
from skipstream import GenerateRequest
from skipstream.options import ScheduleName

SAMPLE = {"seeds": 21, "classes": "cat"}


def sample(solver: str, **options: object) -> GenerateRequest:
    return skipstream.make_request(
        **(SAMPLE | {"solver": solver, "nfe": few_evaluations(solver)} | options)
    )


def all_solvers() -> list[GenerateRequest]:
    """One request per solver, and more where solvers have forms."""
    return [
        *(sample(solver) for solver in SOLVERS),
        sample("heun", churn=skipstream.Churn(s_churn=20)),
        sample("heun", nfe=6, final_step="sigma_min"),
        sample("dpm2", nfe=6, final_step="sigma_min", schedule="exponential"),
        sample("unipc", unipc=skipstream.Unipc(order=3, variant="bh1")),
        sample("unipc", unipc=skipstream.Unipc(order=1, corrector=False), rho=0.9),
        sample("dpmpp_3m", schedule="vp", dpmpp_3m=skipstream.Dpmpp3m(halved_curvature=True)),
        sample("dpmpp_2m_sde", step_noise=skipstream.StepNoise(eta=0.5)),
        sample("euler_ancestral", schedule="iddpm", rho=1.05),
        sample("consistency", nfe=1),
    ]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_makes_images_with_the_evaluations_it_was_given(
    client: skipstream.Client, solver: str
) -> None:
    events = list(client.stream(sample(solver, count=2)))
    images = [e.image for e in events if isinstance(e, skipstream.ImageReady)]
    assert len(images) == 2
    for image in images:
        assert image.image.size == (32, 32)
        assert np.ptp(pixels(image)) > 100, "a picture, not a plane"
    completed = events[-1]
    assert isinstance(completed, skipstream.Completed)
    assert completed.denoiser_calls == completed.evaluations == 2 * few_evaluations(solver)


def test_solvers_agree_where_many_evaluations_leave_them_no_choice(
    client: skipstream.Client,
) -> None:
    # Deterministic solvers approach the same solution, each in its own way.
    solvers = ["heun", "dpm2", "dpmpp_2m", "dpmpp_3m", "unipc", "ipndm"]
    requests = [
        sample("heun", nfe=59),
        sample("heun", nfe=19, seeds=22),
        *(sample(solver, nfe=39) for solver in solvers),
    ]
    reference, other, *images = (pixels(image) for image in all_at_once(client, requests))
    assert np.abs(other - reference).mean() > 12, "another seed is farther away"
    for solver, image in zip(solvers, images, strict=True):
        assert np.abs(image - reference).mean() < 6, solver


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_is_replayed_to_the_byte(exact_client: skipstream.Client, solver: str) -> None:
    (made,) = exact_client.generate(sample(solver))
    request = skipstream.request_from_png(made.data)
    assert request == made.resolved_request
    (again,) = exact_client.generate(request)
    assert again.data == made.data


@pytest.mark.parametrize("schedule", get_args(ScheduleName))
def test_a_schedule_written_out_is_the_same_schedule(
    exact_client: skipstream.Client, schedule: str
) -> None:
    (made,) = exact_client.generate(sample("dpmpp_2m", schedule=schedule))
    levels = list(made.resolved_request.sampler.explicit_levels.sigmas)
    assert len(levels) == few_evaluations("dpmpp_2m")
    assert levels == sorted(levels, reverse=True)
    (again,) = exact_client.generate(**SAMPLE, solver="dpmpp_2m", sigmas=levels)
    assert again.data == made.data


def test_schedules_differ(exact_client: skipstream.Client) -> None:
    levels = {
        schedule: tuple(
            exact_client.generate(sample("euler", nfe=3, schedule=schedule))[
                0
            ].resolved_request.sampler.explicit_levels.sigmas
        )
        for schedule in get_args(ScheduleName)
    }
    assert len(set(levels.values())) == len(levels)


def test_conditioning_on_the_true_levels_changes_nothing(exact_client: skipstream.Client) -> None:
    (plain,) = exact_client.generate(sample("euler"))
    levels = list(plain.resolved_request.sampler.explicit_levels.sigmas)
    (same,) = exact_client.generate(sample("euler", conditioning_sigmas=levels))
    (other,) = exact_client.generate(
        sample("euler", conditioning_sigmas=[0.8 * level for level in levels])
    )
    assert np.array_equal(pixels(same), pixels(plain))
    assert not np.array_equal(pixels(other), pixels(plain))


def test_noise_of_a_stochastic_solver_is_the_sample_s_own(exact_client: skipstream.Client) -> None:
    three = exact_client.generate(sample("euler_ancestral", seeds=40, count=3))
    (alone,) = exact_client.generate(sample("euler_ancestral", seeds=41))
    assert np.array_equal(pixels(three[1]), pixels(alone))
    (still,) = exact_client.generate(
        sample("euler_ancestral", seeds=41, step_noise=skipstream.StepNoise(eta=0))
    )
    (euler,) = exact_client.generate(sample("euler", seeds=41))
    assert np.array_equal(pixels(still), pixels(euler)), "no fresh noise: Euler's method"
    assert not np.array_equal(pixels(alone), pixels(euler))


def test_every_solver_in_one_batch_gives_the_images_of_each_run_alone(
    client: skipstream.Client,
) -> None:
    requests = all_solvers()
    together = all_at_once(client, requests)
    for request, crowd in zip(requests, together, strict=True):
        assert_same_image(crowd, client.generate(request)[0])


def test_every_solver_in_one_batch_is_the_same_to_the_byte_when_deterministic(
    exact_client: skipstream.Client,
) -> None:
    requests = all_solvers()
    together = all_at_once(exact_client, requests)
    for request, crowd in zip(requests, together, strict=True):
        assert crowd.data == exact_client.generate(request)[0].data
