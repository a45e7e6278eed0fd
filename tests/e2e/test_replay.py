"""An image carries the request that makes it again."""

from pathlib import Path

import numpy as np
import pytest
import skipstream
from harness import ROOT, Cli, Server
from PIL import Image as PilImage


@pytest.fixture
def made(exact_client: skipstream.Client) -> skipstream.GeneratedImage:
    return exact_client.generate(
        seeds=[5, 6],
        classes=["cat", "dog"],
        nfe=9,
        rho=skipstream.LinearDepth(0.9, 1.1),
        noise=skipstream.NoiseRamp("high"),
        churn=skipstream.Churn(s_churn=20),
        scale=2,
    )[1]


def test_the_request_in_a_png_gives_the_same_bytes(
    exact_client: skipstream.Client, made: skipstream.GeneratedImage, tmp_path: Path
) -> None:
    made.save(tmp_path / "x.png")
    request = skipstream.request_from_png(tmp_path / "x.png")
    assert request == made.resolved_request
    (again,) = exact_client.generate(request)
    assert again.data == made.data


def test_the_command_replays_a_png(
    exact_server: Server, made: skipstream.GeneratedImage, cli: Cli, tmp_path: Path
) -> None:
    made.save(tmp_path / "x.png")
    result = cli(
        "generate", "--request", "x.png", "--out", "y.png", "--server", exact_server.target
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "y.png").read_bytes() == made.data


def test_the_resolved_request_leaves_nothing_to_defaults(
    made: skipstream.GeneratedImage, exact_client: skipstream.Client
) -> None:
    request = made.resolved_request
    model = exact_client.model()
    assert request.model == model.name
    assert request.model_sha256 == model.sha256
    assert list(request.seeds) == [6]
    assert request.count == 1
    assert [c.index for c in request.classes] == [model.class_names.index("dog")]
    assert request.sampler.nfe == 9
    assert len(request.sampler.explicit_levels.sigmas) == 5
    assert len(request.skip_tuning.explicit_rho.rho) == model.num_skips


def test_the_completed_event_gives_the_same_images(exact_client: skipstream.Client) -> None:
    *_, completed = exact_client.stream(count=3, nfe=3)
    assert isinstance(completed, skipstream.Completed)
    first = exact_client.generate(completed.resolved_request)
    second = exact_client.generate(completed.resolved_request)
    assert [i.data for i in first] == [i.data for i in second]
    assert [i.seed for i in first] == list(completed.resolved_request.seeds)


def test_a_replay_with_other_weights_is_refused(exact_client: skipstream.Client) -> None:
    with pytest.raises(skipstream.PreconditionFailed, match="SHA-256"):
        exact_client.generate(nfe=1, model_sha256="0" * 64)


@pytest.mark.parametrize("file", sorted((ROOT / "tests" / "data" / "replay").glob("*.png")))
def test_images_of_earlier_builds_are_made_again(
    exact_client: skipstream.Client, file: Path
) -> None:
    request = skipstream.request_from_png(file)
    (again,) = exact_client.generate(request)
    assert again.resolved_request == request
    with PilImage.open(file) as image:
        before = np.asarray(image).astype(int)
    now = np.asarray(again.image).astype(int)
    # Other processors round differently; a byte that means something else shows everywhere.
    difference = np.abs(now - before)
    assert difference.max() <= 2
    assert (difference > 0).mean() <= 0.01
