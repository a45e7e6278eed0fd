"""Numpy's scalars and arrays mean what Python's numbers and lists do."""

import asyncio
import math
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import skipstream
from fake_server import FakeServer, completed, image

INTEGERS = [np.int64, np.int32, np.uint8, np.uint64, np.array]
REALS = [np.float64, np.float32, np.float16, np.longdouble, np.array, Fraction]

INTEGER_OPTIONS = ["count", "seeds", "classes", "nfe", "scale", "preview_every"]
REAL_OPTIONS = [
    "sigma_min",
    "sigma_max",
    "schedule_exponent",
    "consistency_sigma_min",
    "guidance",
    "rho",
]


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("option", INTEGER_OPTIONS)
def test_an_integer_of_any_kind_is_an_integer(option: str, kind: Any) -> None:
    assert skipstream.make_request(**{option: kind(7)}) == skipstream.make_request(**{option: 7})


@pytest.mark.parametrize("kind", REALS)
@pytest.mark.parametrize("option", REAL_OPTIONS)
def test_a_real_number_of_any_kind_is_a_number(option: str, kind: Any) -> None:
    # 1.5 is exact in all of them.
    assert skipstream.make_request(**{option: kind(1.5)}) == skipstream.make_request(
        **{option: 1.5}
    )


@pytest.mark.parametrize(
    "kind", [np.array, tuple, lambda v: (x for x in v), lambda v: map(np.int64, v)]
)
def test_a_sequence_of_any_kind_is_a_list(kind: Any) -> None:
    for option in ("seeds", "classes"):
        expected = skipstream.make_request(**{option: [3, 1]})
        assert skipstream.make_request(**{option: kind([3, 1])}) == expected
    for option in ("sigmas", "rho", "conditioning_sigmas"):
        expected = skipstream.make_request(**{option: [3, 1]})
        assert skipstream.make_request(**{option: kind([3, 1])}) == expected


def test_names_of_classes_may_be_an_array() -> None:
    request = skipstream.make_request(classes=np.array(["cat", "owl"]))
    assert [c.name for c in request.classes] == ["cat", "owl"]


def test_the_options_of_options_take_them_too() -> None:
    f, i, b = np.float32, np.int64, np.bool_
    given = skipstream.make_request(
        churn=skipstream.Churn(f(2), f(0.5), f(8), f(1)),
        step_noise=skipstream.StepNoise(f(0.5), f(1)),
        dpmpp_3m=skipstream.Dpmpp3m(b(True)),
        unipc=skipstream.Unipc(i(3), "bh1", b(False)),
        guidance=skipstream.Guidance(f(2), f(0.5), f(8)),
        input_image=skipstream.InputImage(b"x", f(0.5)),
        rho=skipstream.LinearDepth(f(0.5), f(1.5)),
        noise=skipstream.NoiseKnots(np.array([[0.5, 0.0], [2.0, 1.0]], np.float32)),
        no_metadata=b(True),
    )
    assert given == skipstream.make_request(
        churn=skipstream.Churn(2, 0.5, 8, 1),
        step_noise=skipstream.StepNoise(0.5, 1),
        dpmpp_3m=skipstream.Dpmpp3m(True),
        unipc=skipstream.Unipc(3, "bh1", False),
        guidance=skipstream.Guidance(2, 0.5, 8),
        input_image=skipstream.InputImage(b"x", 0.5),
        rho=skipstream.LinearDepth(0.5, 1.5),
        noise=skipstream.NoiseKnots([(0.5, 0.0), (2.0, 1.0)]),
        no_metadata=True,
    )


@pytest.mark.parametrize("option", INTEGER_OPTIONS)
@pytest.mark.parametrize("value", [True, np.True_, 1.0, np.float64(1), b"1", None.__class__])
def test_what_is_no_integer_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=option):
        skipstream.make_request(**{option: value})


@pytest.mark.parametrize("option", INTEGER_OPTIONS)
@pytest.mark.parametrize("value", [2**40, -(2**40)])
def test_what_no_message_holds_is_refused_by_name(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be from .*, got {value}"):
        skipstream.make_request(**{option: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((option, lambda v, option=option: {option: v}) for option in REAL_OPTIONS),
        ("sigmas[1]", lambda v: {"sigmas": [80.0, v]}),
        ("rho[0]", lambda v: {"rho": [v]}),
        ("conditioning_sigmas[0]", lambda v: {"conditioning_sigmas": np.array([v])}),
        ("churn.s_max", lambda v: {"churn": skipstream.Churn(1, 0, v)}),
        ("step_noise.eta", lambda v: {"step_noise": skipstream.StepNoise(v)}),
        ("guidance.sigma_hi", lambda v: {"guidance": skipstream.Guidance(2, 0, v)}),
        ("input_image.strength", lambda v: {"input_image": skipstream.InputImage(b"x", v)}),
        ("rho.bottom", lambda v: {"rho": skipstream.LinearDepth(v)}),
        ("noise.sigma_lo", lambda v: {"noise": skipstream.NoiseWindow(v)}),
        ("noise.knots[0].strength", lambda v: {"noise": skipstream.NoiseKnots([(1.0, v)])}),
    ],
)
def test_what_is_not_finite_is_refused_by_name(name: str, options: Any, value: float) -> None:
    with pytest.raises(ValueError, match="finite") as raised:
        skipstream.make_request(**options(value))
    assert str(raised.value).startswith(f"{name} must be a finite number, got")


# --- Times ---


@pytest.fixture(params=["sync", "async"])
def generate(request: pytest.FixtureRequest, server: FakeServer) -> Any:
    def sync_generate(timeout: Any) -> list[skipstream.GeneratedImage]:
        with skipstream.Client(server.target) as client:
            client.models(timeout=timeout)
            return client.generate(timeout=timeout)

    def async_generate(timeout: Any) -> list[skipstream.GeneratedImage]:
        async def run() -> list[skipstream.GeneratedImage]:
            async with skipstream.AsyncClient(server.target) as client:
                await client.models(timeout=timeout)
                return await client.generate(timeout=timeout)

        return asyncio.run(run())

    return sync_generate if request.param == "sync" else async_generate


@pytest.mark.parametrize(
    "timeout",
    [math.inf, 1e10, 1e300, sys.maxsize, 10**400, np.float64("inf"), np.float32(60), None],
)
def test_a_timeout_that_no_deadline_can_hold_is_none(
    server: FakeServer, generate: Any, timeout: Any
) -> None:
    server.scripts = [[image(0), completed()]]
    assert len(generate(timeout)) == 1


@pytest.mark.parametrize("timeout", [math.nan, -1, -math.inf, np.float32("nan"), -0.001])
def test_a_timeout_that_is_no_time_is_refused(generate: Any, timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be"):
        generate(timeout)


@pytest.mark.parametrize("field", ["initial_backoff", "max_total_wait", "jitter"])
@pytest.mark.parametrize("value", [math.nan, -1.0])
def test_a_retry_policy_has_no_times_that_are_none(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        skipstream.RetryPolicy(**{field: value})
