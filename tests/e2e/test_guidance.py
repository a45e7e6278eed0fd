"""Guidance by the model without its class, and by a second model."""

from __future__ import annotations

import numpy as np
import pytest
import skipstream
from harness import SOLVERS, assert_same_image, few_evaluations, pixels

CAT = {"seeds": 8, "classes": "cat", "solver": "euler", "nfe": 5}


def image(client: skipstream.Client, **options: object) -> np.ndarray:
    return pixels(client.generate(**(CAT | options))[0])


def cost(client: skipstream.Client, **options: object) -> tuple[int, int]:
    """Denoiser calls and evaluations of one image."""
    *_, completed = client.stream(**(CAT | options))
    assert isinstance(completed, skipstream.Completed)
    return completed.denoiser_calls, completed.evaluations


def test_a_model_without_label_dropout_says_that_it_cannot(
    exact_client: skipstream.Client,
) -> None:
    assert not exact_client.model("undropped").supports_guidance
    with pytest.raises(skipstream.InvalidRequest, match="label dropout") as caught:
        exact_client.generate(model="undropped", nfe=1, guidance=2.0)
    assert [v.field for v in caught.value.violations] == ["guidance.scale"]


def test_guidance_changes_the_image_and_costs_two_rows_a_call(
    exact_client: skipstream.Client,
) -> None:
    assert exact_client.model().supports_guidance
    assert not np.array_equal(image(exact_client), image(exact_client, guidance=2.0))
    assert cost(exact_client) == (5, 5)
    assert cost(exact_client, guidance=2.0) == (5, 10)


def test_the_rows_are_counted_by_the_server(
    exact_server: object, exact_client: skipstream.Client
) -> None:
    before = exact_server.metrics().value("evaluations_total", model="nouns32")
    cost(exact_client, guidance=2.0)
    exact_server.wait_idle()
    assert exact_server.metrics().value("evaluations_total", model="nouns32") - before == 10


def test_guidance_costs_and_changes_nothing_outside_its_interval(
    exact_client: skipstream.Client,
) -> None:
    options = {key: value for key, value in CAT.items() if key != "nfe"}
    options["sigmas"] = [40.0, 20.0, 2.0, 0.5]

    def made(guidance: skipstream.Guidance) -> tuple[np.ndarray, int, int]:
        events = list(exact_client.stream(**options, guidance=guidance))
        images = [e.image for e in events if isinstance(e, skipstream.ImageReady)]
        return pixels(images[0]), events[-1].denoiser_calls, events[-1].evaluations

    plain = pixels(exact_client.generate(**options)[0])
    middle, *middle_cost = made(skipstream.Guidance(3.0, sigma_lo=1.0, sigma_hi=25.0))
    assert middle_cost == [4, 6]
    assert not np.array_equal(middle, plain)
    nowhere, *nowhere_cost = made(skipstream.Guidance(3.0, sigma_lo=100.0))
    assert nowhere_cost == [4, 4]
    assert np.array_equal(nowhere, plain)


def test_a_scale_of_one_is_the_image_without_guidance(exact_client: skipstream.Client) -> None:
    assert np.array_equal(image(exact_client, guidance=1.0), image(exact_client))
    assert cost(exact_client, guidance=1.0) == (5, 5)


def test_a_scale_of_zero_forgets_the_class(exact_client: skipstream.Client) -> None:
    assert not np.array_equal(image(exact_client), image(exact_client, classes="dog"))
    assert np.array_equal(
        image(exact_client, guidance=0.0), image(exact_client, guidance=0.0, classes="dog")
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_twin_as_guide_changes_nothing(exact_client: skipstream.Client, solver: str) -> None:
    # scale * D + (1 - scale) * D = D up to rounding.
    options = {"seeds": 8, "classes": "cat", "solver": solver, "nfe": few_evaluations(solver)}
    (plain,) = exact_client.generate(**options)
    (guided,) = exact_client.generate(
        **options, guidance=skipstream.Guidance(3.0, guide_model="second")
    )
    assert_same_image(guided, plain)


def test_autoguidance_pushes_away_from_the_guide(exact_client: skipstream.Client) -> None:
    # The twin is not skip-tuned, so it differs from the tuned model.
    options = {"seeds": 8, "classes": "cat", "solver": "euler", "nfe": 5, "rho": 0.9}
    guide = skipstream.Guidance(2.0, guide_model="second")
    (plain,) = exact_client.generate(**options)
    events = list(exact_client.stream(**options, guidance=guide))
    (guided,) = [e.image for e in events if isinstance(e, skipstream.ImageReady)]
    assert (events[-1].denoiser_calls, events[-1].evaluations) == (5, 10)
    assert not np.array_equal(pixels(guided), pixels(plain))


@pytest.mark.parametrize(
    "guidance",
    [
        skipstream.Guidance(2.0, sigma_lo=1.0),
        skipstream.Guidance(2.0, guide_model="second", sigma_hi=30.0),
    ],
    ids=["classifier-free", "autoguidance"],
)
def test_a_guided_image_is_replayed_to_the_byte(
    exact_client: skipstream.Client, guidance: skipstream.Guidance
) -> None:
    (made,) = exact_client.generate(**CAT, guidance=guidance)
    request = skipstream.request_from_png(made.data)
    assert request == made.resolved_request
    assert request.guidance.scale == 2.0
    if guidance.guide_model:
        assert len(request.guidance.guide_model_sha256) == 64
    (again,) = exact_client.generate(request)
    assert again.data == made.data


def test_a_guide_with_other_weights_is_refused(exact_client: skipstream.Client) -> None:
    guide = skipstream.Guidance(2.0, guide_model="second", guide_model_sha256="0" * 64)
    with pytest.raises(skipstream.PreconditionFailed, match="guide_model_sha256"):
        exact_client.generate(nfe=1, guidance=guide)


def test_an_unknown_guide_is_not_found(exact_client: skipstream.Client) -> None:
    with pytest.raises(skipstream.NotFound, match="guide_model"):
        exact_client.generate(nfe=1, guidance=skipstream.Guidance(2.0, guide_model="nobody"))
