"""Requests that have nothing in common share batches, and the images do not show it."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
import skipstream
from harness import PATIENCE, Server, all_at_once, assert_same_image, binary, pixels
from skipstream import GenerateRequest

LONGEST = 79


def mixed_requests(count: int, *, long: int, nfe_limit: int) -> list[GenerateRequest]:
    """`count` requests that differ in everything; `long` of them with NFE 79, one with NFE 1."""
    draw = random.Random(count * 1000 + long)
    requests = []
    for i in range(count):
        nfe = LONGEST if i < long else 1 if i == long else draw.randint(2, nfe_limit)
        solver = "heun" if nfe % 2 else "euler"
        request = skipstream.make_request(
            seeds=draw.getrandbits(32),
            classes=draw.randrange(64),
            solver=solver if nfe < LONGEST or i % 2 else "euler",
            nfe=nfe,
            rho=draw.choice([0.7, 0.9, 1.0, 1.05, skipstream.LinearDepth(0.8, 1.1)]),
        )
        if i % 4 == 0:
            request.skip_tuning.noise.window.sigma_lo = 1.0
        if i % 5 == 0:
            request.sampler.churn.s_churn = 10
        requests.append(request)
    return requests


def mean_rows_of(
    server: Server, run: Callable[[], list[skipstream.GeneratedImage]]
) -> tuple[float, list[skipstream.GeneratedImage]]:
    before = server.metrics()
    images = run()
    after = server.metrics()
    rows = after.value("batch_rows_sum") - before.value("batch_rows_sum")
    batches = after.value("batch_rows_count") - before.value("batch_rows_count")
    return rows / batches, images


def test_mixed_requests_share_batches_and_get_the_images_they_get_alone(
    server: Server, client: skipstream.Client
) -> None:
    requests = mixed_requests(32, long=6, nfe_limit=13)
    mean_rows, together = mean_rows_of(server, lambda: all_at_once(client, requests))
    alone_rows, alone = mean_rows_of(
        server, lambda: [client.generate(request)[0] for request in requests]
    )
    assert mean_rows > 6
    assert alone_rows == 1
    fused = client.model().kernels == "fused"
    for crowd, single in zip(together, alone, strict=True):
        if fused:
            assert crowd.data == single.data
        else:
            assert_same_image(crowd, single)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_model_says_how_it_is_computed(
    new_server: Callable[..., Server], precision: str
) -> None:
    with new_server().client() as client:
        usual = client.model()
        if usual.kernels != "fused" or precision == "bfloat16" != usual.precision:
            pytest.skip(f"this CPU has no fused kernels in {precision}")
        (image,) = client.generate(seeds=3, classes="cat", nfe=9)
    with new_server(f"--precision={precision}").client() as client:
        assert client.model().precision == precision
        (other,) = client.generate(seeds=3, classes="cat", nfe=9)
    with new_server("--kernels=reference").client() as client:
        assert (client.model().kernels, client.model().precision) == ("reference", "float32")
        (reference,) = client.generate(seeds=3, classes="cat", nfe=9)
    assert np.abs(pixels(other) - pixels(reference)).mean() < 2
    assert np.abs(pixels(image) - pixels(reference)).mean() < 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--kernels=reference", "--precision=bfloat16"),
            "the reference kernels compute in float32 only",
        ),
        (("--device=cuda",), "this build has no CUDA executor"),
        (("--device=cuda:0,cuda:0x",), "--device cuda:0,cuda:0x: must be auto, cpu, cuda, or GPUs"),
    ],
)
def test_what_cannot_evaluate_the_network_is_refused_at_the_start(
    flags: tuple[str, ...], message: str
) -> None:
    result = subprocess.run(
        [
            binary("skipstream-server"),
            *("--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0"),
            *flags,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == 1
    assert message in result.stderr


def test_deterministic_images_are_the_same_bytes_under_any_load(
    exact_server: Server, exact_client: skipstream.Client
) -> None:
    requests = mixed_requests(32, long=1, nfe_limit=5)
    mean_rows, together = mean_rows_of(exact_server, lambda: all_at_once(exact_client, requests))
    assert mean_rows > 1.5
    alone = [exact_client.generate(request)[0] for request in requests[::-1]][::-1]
    for crowd, single in zip(together, alone, strict=True):
        assert crowd.data == single.data


def test_an_image_does_not_depend_on_its_place_in_a_request(
    exact_client: skipstream.Client,
) -> None:
    three = exact_client.generate(seeds=40, count=3, classes="cat", nfe=3)
    assert [image.seed for image in three] == [40, 41, 42]
    alone = exact_client.generate(seeds=41, classes="cat", nfe=3)[0]
    assert np.array_equal(pixels(three[1]), pixels(alone))
    assert not np.array_equal(pixels(three[0]), pixels(three[1]))
