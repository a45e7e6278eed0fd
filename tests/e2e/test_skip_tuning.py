"""Skip-tuning changes images where it should and nowhere else."""

import numpy as np
import skipstream
from harness import pixels

PLAIN = {"seeds": 11, "classes": "cat", "nfe": 5}


def image(client: skipstream.Client, **options: object) -> np.ndarray:
    return pixels(client.generate(**(PLAIN | options))[0])


def test_rho_changes_the_image(exact_client: skipstream.Client) -> None:
    plain = image(exact_client, rho=1.0)
    tuned = image(exact_client, rho=0.9)
    assert np.count_nonzero(plain != tuned) > 0.05 * plain.size
    assert np.abs(plain - tuned).mean() < 64, "another image of the same thing, not noise"


def test_no_rho_means_one(exact_client: skipstream.Client) -> None:
    assert np.array_equal(image(exact_client), image(exact_client, rho=1.0))


def test_a_window_outside_the_schedule_is_the_plain_network(
    exact_client: skipstream.Client,
) -> None:
    outside = image(exact_client, rho=0.5, noise=skipstream.NoiseWindow(100.0, 200.0))
    inside = image(exact_client, rho=0.5, noise=skipstream.NoiseWindow(0.001, 100.0))
    assert np.array_equal(outside, image(exact_client, rho=1.0))
    assert np.array_equal(inside, image(exact_client, rho=0.5))


def test_every_way_to_say_the_same_rho_gives_the_same_image(
    exact_client: skipstream.Client,
) -> None:
    skips = exact_client.model().num_skips
    expected = image(exact_client, rho=0.9)
    for rho in (skipstream.LinearDepth(0.9, 0.9), [0.9] * skips):
        assert np.array_equal(image(exact_client, rho=rho), expected)
    full_strength = skipstream.NoiseKnots([(1.0, 1.0)])
    assert np.array_equal(image(exact_client, rho=0.9, noise=full_strength), expected)


def test_each_end_of_the_depth_and_of_the_noise_ramp_matters(
    exact_client: skipstream.Client,
) -> None:
    variants = [
        image(exact_client, rho=1.0),
        image(exact_client, rho=skipstream.LinearDepth(0.8, 1.0)),
        image(exact_client, rho=skipstream.LinearDepth(1.0, 0.8)),
        image(exact_client, rho=0.8, noise=skipstream.NoiseRamp("high")),
        image(exact_client, rho=0.8, noise=skipstream.NoiseRamp("low")),
    ]
    for i, a in enumerate(variants):
        for b in variants[i + 1 :]:
            assert not np.array_equal(a, b)


def test_the_same_seed_starts_from_the_same_latents(exact_client: skipstream.Client) -> None:
    assert np.array_equal(image(exact_client), image(exact_client))
    assert not np.array_equal(image(exact_client), image(exact_client, seeds=12))


def test_karras_levels_written_out_are_the_same_schedule(
    exact_client: skipstream.Client,
) -> None:
    resolved = exact_client.generate(**PLAIN)[0].resolved_request
    levels = list(resolved.sampler.explicit_levels.sigmas)
    assert levels[0] == 80.0
    assert abs(levels[-1] - 0.002) < 1e-12
    options = {key: value for key, value in PLAIN.items() if key != "nfe"}
    (written_out,) = exact_client.generate(sigmas=levels, **options)
    assert np.array_equal(pixels(written_out), image(exact_client))
