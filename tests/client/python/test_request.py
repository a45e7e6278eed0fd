import io

import pytest
import skipstream
from fake_server import png
from PIL import Image
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb
from skipstream.request import with_seeds


def test_no_options_leave_every_default_to_the_server() -> None:
    assert skipstream.make_request() == pb.GenerateRequest()


def test_every_option_lands_in_its_field() -> None:
    request = skipstream.make_request(
        model="m",
        count=2,
        seeds=[1, 2],
        classes=["cat", 3],
        solver="euler",
        nfe=9,
        sigma_min=0.01,
        sigma_max=50.0,
        schedule_exponent=5.0,
        churn=skipstream.Churn(s_churn=40, s_min=0.05, s_max=50, s_noise=1.003),
        rho=0.9,
        noise=skipstream.NoiseWindow(0.5, 5.0),
        format="webp",
        scale=4,
        preview_every=3,
        priority="high",
        model_sha256="ab" * 32,
    )
    assert request == pb.GenerateRequest(
        model="m",
        count=2,
        seeds=[1, 2],
        classes=[pb.ClassSelector(name="cat"), pb.ClassSelector(index=3)],
        sampler=pb.Sampler(
            solver=pb.SOLVER_EULER,
            nfe=9,
            sigma_min=0.01,
            sigma_max=50.0,
            karras=pb.KarrasSchedule(schedule_exponent=5.0),
            churn=pb.Churn(s_churn=40, s_min=0.05, s_max=50, s_noise=1.003),
        ),
        skip_tuning=pb.SkipTuning(
            rho=0.9,
            noise=pb.NoiseProfile(window=pb.NoiseWindow(sigma_lo=0.5, sigma_hi=5.0)),
        ),
        output=pb.Output(format=pb.IMAGE_FORMAT_WEBP, scale=4, preview_every=3),
        priority=pb.PRIORITY_HIGH,
        model_sha256="ab" * 32,
    )


def test_the_proto_has_no_field_that_the_options_cannot_set() -> None:
    spellings = {
        "skip_tuning": {"rho", "preset", "noise"},
        "sampler": {"solver", "nfe", "sigma_min", "sigma_max", "schedule_exponent", "sigmas"},
        "output": {"format", "scale", "preview_every"},
    }
    options = skipstream.RequestOptions.__annotations__.keys()
    for field in pb.GenerateRequest.DESCRIPTOR.fields:
        assert spellings.get(field.name, {field.name}) <= options


@pytest.mark.parametrize(
    ("rho", "expected"),
    [
        (0.0, pb.SkipTuning(rho=0.0)),
        (1, pb.SkipTuning(rho=1.0)),
        (
            skipstream.LinearDepth(0.8, 1.1),
            pb.SkipTuning(linear=pb.LinearDepth(bottom=0.8, top=1.1)),
        ),
        ([0.9, 1.0], pb.SkipTuning(explicit_rho=pb.ExplicitDepth(rho=[0.9, 1.0]))),
        ([], pb.SkipTuning(explicit_rho=pb.ExplicitDepth())),
    ],
)
def test_rho_may_be_a_number_a_line_or_a_list(
    rho: float | list[float] | skipstream.LinearDepth, expected: pb.SkipTuning
) -> None:
    assert skipstream.make_request(rho=rho).skip_tuning == expected


def test_noise_profiles() -> None:
    ramp = skipstream.make_request(rho=0.9, noise=skipstream.NoiseRamp("low"))
    assert ramp.skip_tuning.noise.ramp.direction == pb.NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA
    knots = skipstream.make_request(rho=0.9, noise=skipstream.NoiseKnots([(0.1, 0.0), (5.0, 1.0)]))
    assert [(k.sigma, k.strength) for k in knots.skip_tuning.noise.knots.knots] == [
        (0.1, 0.0),
        (5.0, 1.0),
    ]
    open_end = skipstream.make_request(rho=0.9, noise=skipstream.NoiseWindow(1.0))
    assert not open_end.skip_tuning.noise.window.HasField("sigma_hi")


def test_explicit_levels() -> None:
    request = skipstream.make_request(sigmas=[5.0, 1.0])
    assert list(request.sampler.explicit_levels.sigmas) == [5.0, 1.0]


def test_one_class_and_one_seed_need_no_list() -> None:
    request = skipstream.make_request(classes="cat", seeds=7)
    assert [c.name for c in request.classes] == ["cat"]
    assert list(request.seeds) == [7]
    assert request.count == 1


def test_one_seed_for_several_classes_makes_one_image_of_each() -> None:
    assert skipstream.make_request(classes=["cat", "dog"], seeds=7).count == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "rk4"}, "solver must be one of euler, heun; got 'rk4'"),
        ({"format": "gif"}, "format must be one of png, webp, raw"),
        ({"priority": "urgent"}, "priority must be one of low, normal, high"),
        ({"preset": "p", "rho": 0.9}, "preset replaces rho"),
        ({"sigmas": [1.0], "schedule_exponent": 7.0}, "schedule_exponent"),
    ],
)
def test_what_a_message_cannot_say_is_refused_here(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        skipstream.make_request(**options)


def test_a_misspelt_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="rhoo"):
        skipstream.make_request(rhoo=0.9)  # type: ignore[call-arg]


def test_seeds_are_drawn_once_and_differ_between_requests() -> None:
    request = skipstream.make_request(count=4)
    first, second = with_seeds(request), with_seeds(request)
    assert first.seeds != second.seeds
    assert first.count == 4
    assert not request.seeds, "the caller's request is not touched"


def test_drawing_a_seed_keeps_the_count_that_the_classes_gave() -> None:
    assert with_seeds(skipstream.make_request(classes=["cat", "dog"])).count == 2
    assert with_seeds(skipstream.make_request()).count == 1


def test_given_seeds_are_kept() -> None:
    request = skipstream.make_request(seeds=[3, 1])
    assert with_seeds(request) == request


def test_request_from_png_reads_files_and_bytes(tmp_path) -> None:
    request = skipstream.make_request(seeds=[3], nfe=9, rho=[0.95, 1.05], classes=["cat"])
    data = png((9, 9, 9), request)
    path = tmp_path / "x.png"
    path.write_bytes(data)
    assert skipstream.request_from_png(data) == request
    assert skipstream.request_from_png(path) == request
    assert skipstream.request_from_png(str(path)) == request


def test_request_from_png_of_somebody_else_says_so() -> None:
    with pytest.raises(ValueError, match=r"skipstream\.request"):
        skipstream.request_from_png(png((9, 9, 9)))
    jpeg = io.BytesIO()
    Image.new("RGB", (4, 4)).save(jpeg, "JPEG")
    with pytest.raises(ValueError, match=r"skipstream\.request"):
        skipstream.request_from_png(jpeg.getvalue())
