"""Every floating point number of a request: refused by name, or an image comes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import skipstream
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from harness import pixels
from skipstream import GenerateRequest
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb

Path = tuple[FieldDescriptor, ...]

NOT_FINITE = (math.nan, math.inf, -math.inf)
NUM_SKIPS = 9  # of nouns32
EXTREME = (1e308, -1e308, 5e-324, -5e-324, 1e-300, -0.0)


def paths(message: Descriptor, before: Path = ()) -> Iterator[Path]:
    for field in message.fields:
        if field.message_type is not None:
            yield from paths(field.message_type, (*before, field))
        elif field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            yield (*before, field)


def name_of(path: Path) -> str:
    """As violations spell it."""
    return ".".join(f"{f.name}[0]" if f.is_repeated else f.name for f in path)


def request_with(path: Path, value: float) -> GenerateRequest:
    """A request that is valid but for this number, and reads it."""
    request = GenerateRequest(seeds=[1], classes=[pb.ClassSelector(name="cat")])
    names = [field.name for field in path]
    if names[0] == "input_image":
        request.input_image.picture = bytes(range(256)) * 12
    if names[0] == "guidance":
        request.guidance.scale = 2.0
    if "noise" in names:
        request.skip_tuning.rho = 0.9
    solvers = {
        "step_noise": pb.SOLVER_EULER_ANCESTRAL,
        "consistency_sigma_min": pb.SOLVER_CONSISTENCY,
    }
    request.sampler.solver = next(
        (solver for name, solver in solvers.items() if name in names), pb.SOLVER_EULER
    )
    if names[-1] == "conditioning_sigmas":
        request.sampler.nfe = 1
    elif "explicit_levels" not in names:
        request.sampler.nfe = 9
    if names[-1] == "sigma" and "knots" in names:
        request.skip_tuning.noise.knots.knots.add(strength=1.0)

    message: Message = request
    for field in path[:-1]:
        inner = getattr(message, field.name)
        if field.is_repeated:
            message = inner[0] if inner else inner.add(sigma=1.0)
        else:
            inner.SetInParent()
            message = inner
    if path[-1].is_repeated:
        getattr(message, path[-1].name).append(value)
        if names[-2] == "explicit_rho":
            message.rho.extend([1.0] * (NUM_SKIPS - 1))
    else:
        setattr(message, path[-1].name, value)
    return request


ALL = {name_of(path): path for path in paths(GenerateRequest.DESCRIPTOR)}


def test_the_walk_finds_the_numbers() -> None:
    assert {
        "sampler.sigma_min",
        "sampler.explicit_levels.sigmas[0]",
        "guidance.scale",
    } <= ALL.keys()
    assert "skip_tuning.noise.knots.knots[0].strength" in ALL
    assert "input_image.strength" in ALL


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_finite_is_refused_by_name(client: skipstream.Client, name: str) -> None:
    for value in NOT_FINITE:
        with pytest.raises(skipstream.InvalidRequest) as raised:
            client.generate(request_with(ALL[name], value))
        assert [v.field for v in raised.value.violations] == [name], value


def roughness(image: skipstream.GeneratedImage) -> float:
    """Mean difference of neighbours: about 20 for images of this model, above 80 for noise."""
    values = pixels(image)
    return float(np.abs(values[:, 1:] - values[:, :-1]).mean())


@pytest.mark.parametrize("name", ALL)
def test_what_is_extreme_is_refused_by_name_or_gives_an_image(
    client: skipstream.Client, name: str
) -> None:
    for value in EXTREME:
        try:
            (image,) = client.generate(request_with(ALL[name], value))
        except skipstream.InvalidRequest as error:
            fields = {violation.field for violation in error.violations}
        else:
            assert roughness(image) < 60, value
            continue
        assert fields, value
        assert all(name.startswith(field) for field in fields), (value, fields)
