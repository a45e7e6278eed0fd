import io
from pathlib import Path
from typing import Any, get_args

import pytest
import skipstream
from fake_server import png
from PIL import Image
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb
from skipstream.options import (
    FinalStepName,
    FormatName,
    PriorityName,
    ScheduleName,
    SolverName,
)
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
        schedule="karras",
        schedule_exponent=5.0,
        final_step="sigma_min",
        conditioning_sigmas=[70.0, 3.0],
        churn=skipstream.Churn(s_churn=40, s_min=0.05, s_max=50, s_noise=1.003),
        step_noise=skipstream.StepNoise(eta=0.5, s_noise=1.01),
        dpmpp_3m=skipstream.Dpmpp3m(halved_curvature=True),
        unipc=skipstream.Unipc(order=3, variant="bh1", corrector=False),
        consistency_sigma_min=0.01,
        guidance=skipstream.Guidance(
            2.5, sigma_lo=0.3, sigma_hi=5.0, guide_model="small", guide_model_sha256="cd" * 32
        ),
        input_image=skipstream.InputImage(b"picture", strength=0.3, mask=b"mask"),
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
            final_step=pb.FINAL_STEP_SIGMA_MIN,
            conditioning_sigmas=[70.0, 3.0],
            churn=pb.Churn(s_churn=40, s_min=0.05, s_max=50, s_noise=1.003),
            step_noise=pb.StepNoise(eta=0.5, s_noise=1.01),
            dpmpp_3m=pb.Dpmpp3m(halved_curvature=True),
            unipc=pb.Unipc(order=3, variant=pb.UNIPC_VARIANT_BH1, corrector=False),
            consistency_sigma_min=0.01,
        ),
        guidance=pb.Guidance(
            scale=2.5,
            sigma_lo=0.3,
            sigma_hi=5.0,
            guide_model="small",
            guide_model_sha256="cd" * 32,
        ),
        input_image=pb.InputImage(picture=b"picture", strength=0.3, mask=b"mask"),
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
        "output": {field.name for field in pb.Output.DESCRIPTOR.fields},
        "sampler": {field.name for field in pb.Sampler.DESCRIPTOR.fields}
        # The schedules are values of one option; two of them have a separate option.
        - {field.name for field in pb.Sampler.DESCRIPTOR.oneofs_by_name["schedule"].fields}
        | {"schedule", "schedule_exponent", "sigmas"},
    }
    options = skipstream.RequestOptions.__annotations__.keys()
    for field in pb.GenerateRequest.DESCRIPTOR.fields:
        assert spellings.get(field.name, {field.name}) <= options


@pytest.mark.parametrize(
    ("option", "words", "enum"),
    [
        ("solver", SolverName, pb.Solver),
        ("final_step", FinalStepName, pb.FinalStep),
        ("priority", PriorityName, pb.Priority),
        ("format", FormatName, pb.ImageFormat),
    ],
)
def test_every_value_of_an_enum_has_its_word(option: str, words: object, enum: Any) -> None:
    requests = [skipstream.make_request(**{option: word}) for word in get_args(words)]
    holders = [{"format": r.output, "priority": r}.get(option, r.sampler) for r in requests]
    assert [getattr(holder, option) for holder in holders] == [n for n in enum.values() if n]


def test_every_schedule_has_its_word() -> None:
    schedules = pb.Sampler.DESCRIPTOR.oneofs_by_name["schedule"].fields
    assert {*get_args(ScheduleName), "explicit_levels"} == {field.name for field in schedules}
    for name in get_args(ScheduleName):
        sampler = skipstream.make_request(schedule=name).sampler
        assert sampler.WhichOneof("schedule") == name


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
        ({"solver": "rk4"}, r"solver must be one of euler, heun, .*consistency; got 'rk4'"),
        ({"solver": "unspecified"}, "solver must be one of"),
        ({"schedule": "cosine"}, "schedule must be one of karras, exponential, linear, vp, ve"),
        ({"schedule": "churn"}, "schedule must be one of"),
        ({"final_step": "one"}, "final_step must be one of zero, sigma_min"),
        ({"unipc": skipstream.Unipc(variant="bh3")}, "variant must be one of bh1, bh2"),
        ({"schedule": "vp", "schedule_exponent": 7.0}, "schedule_exponent belongs to the Karras"),
        ({"schedule": "vp", "sigmas": [1.0]}, "schedule describes"),
        ({"format": "gif"}, "format must be one of png, webp, raw"),
        ({"priority": "urgent"}, "priority must be one of low, normal, high"),
        ({"preset": "p", "rho": 0.9}, "preset replaces rho"),
        ({"sigmas": [1.0], "schedule_exponent": 7.0}, "schedule_exponent"),
    ],
)
def test_what_a_message_cannot_say_is_refused_here(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        skipstream.make_request(**options)


def test_guidance_may_be_only_a_scale() -> None:
    assert skipstream.make_request(guidance=0).guidance == pb.Guidance(scale=0.0)
    assert skipstream.make_request(guidance=2.5).guidance == pb.Guidance(scale=2.5)


def test_options_left_out_stay_unset() -> None:
    request = skipstream.make_request(guidance=skipstream.Guidance(2.0), input_image=b"x")
    assert not request.guidance.HasField("sigma_hi")
    assert not request.guidance.guide_model
    assert request.input_image == pb.InputImage(picture=b"x")


def test_a_picture_may_be_bytes_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png((9, 8, 7)))
    for source in (png((9, 8, 7)), path, str(path)):
        assert skipstream.make_request(input_image=source).input_image.picture == png((9, 8, 7))


@pytest.mark.parametrize(
    ("mode", "color", "sent"),
    [
        ("RGB", (9, 8, 7), (9, 8, 7)),
        ("RGBA", (9, 8, 7, 0), (9, 8, 7)),
        ("L", 5, 5),
        ("LA", (5, 0), 5),
        ("1", 1, 255),
    ],
)
def test_a_picture_in_memory_is_sent_as_png_without_alpha(mode: str, color: Any, sent: Any) -> None:
    request = skipstream.make_request(input_image=Image.new(mode, (4, 2), color))
    picture = Image.open(io.BytesIO(request.input_image.picture))
    assert picture.format == "PNG"
    assert picture.size == (4, 2)
    assert picture.getpixel((3, 1)) == sent


def test_a_mask_in_memory_is_sent_as_a_grey_png() -> None:
    mask = Image.new("RGB", (4, 2), "white")
    image = skipstream.InputImage(b"x", mask=mask)
    request = skipstream.make_request(input_image=image)
    sent = Image.open(io.BytesIO(request.input_image.mask))
    assert (sent.mode, sent.getpixel((0, 0))) == ("L", 255)


def test_what_cannot_be_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        skipstream.make_request(input_image=tmp_path / "none.png")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((4 << 20) + 1)
    with pytest.raises(ValueError, match="picture is larger than 4194304 bytes"):
        skipstream.make_request(input_image=large)
    with pytest.raises(ValueError, match="mask is empty"):
        skipstream.make_request(input_image=skipstream.InputImage(b"x", mask=b""))
    with pytest.raises(ValueError, match="more than 8 bits"):
        skipstream.make_request(input_image=Image.new("F", (4, 2)))
    with pytest.raises(TypeError, match="picture must be bytes, a path or a PIL image"):
        skipstream.make_request(input_image=7)  # type: ignore[arg-type]


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


def test_request_from_png_brings_the_picture_it_began_with() -> None:
    picture = bytes(i * 31 % 251 for i in range(3 << 20))
    request = skipstream.make_request(input_image=skipstream.InputImage(picture, strength=0.2))
    assert skipstream.request_from_png(png((9, 9, 9), request)) == request


def test_request_from_png_of_somebody_else_says_so() -> None:
    with pytest.raises(ValueError, match=r"skipstream\.request"):
        skipstream.request_from_png(png((9, 9, 9)))
    jpeg = io.BytesIO()
    Image.new("RGB", (4, 4)).save(jpeg, "JPEG")
    with pytest.raises(ValueError, match=r"skipstream\.request"):
        skipstream.request_from_png(jpeg.getvalue())
