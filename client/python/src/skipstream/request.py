"""Building requests: plain Python values in, a GenerateRequest message out."""

from __future__ import annotations

import io
import secrets
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, Unpack, cast, get_args

from google.protobuf import json_format
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from PIL import Image as PilImage
from PIL import ImageOps

from skipstream._numbers import (
    UINT32,
    flag,
    integer,
    integers,
    is_single,
    number,
    numbers,
    sequence,
)
from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb
from skipstream.options import (
    Guidance,
    InputImage,
    LinearDepth,
    NoiseRamp,
    NoiseWindow,
    Picture,
    RampEnd,
    RequestOptions,
    ScheduleName,
)

GenerateRequest = pb.GenerateRequest

PNG_REQUEST_KEY = "skipstream.request"

_SCHEDULES = get_args(ScheduleName)
_RAMP_ENDS: dict[RampEnd, pb.NoiseRampDirection] = {
    "high": pb.NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA,
    "low": pb.NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA,
}

_Name = TypeVar("_Name", bound=str)
_Value = TypeVar("_Value")
_Enum = TypeVar("_Enum", bound=int)

# More than any server takes in one request; a wrong path should not cost more than this.
_MAX_PICTURE_BYTES = 4 << 20


def make_request(**options: Unpack[RequestOptions]) -> GenerateRequest:
    """Builds a request. Raises ValueError or TypeError for what a message cannot hold."""
    unknown = options.keys() - RequestOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown request option {min(unknown)!r}")
    request = GenerateRequest(
        model=options.get("model"),
        model_sha256=options.get("model_sha256"),
        request_id=options.get("request_id"),
    )
    if options.get("count") is not None:
        request.count = integer("count", options["count"])
    if "priority" in options:
        request.priority = _choose_enum("priority", options["priority"], pb.Priority)
    _set_classes(request, options)
    _set_seeds(request, options)
    _set_sampler(request.sampler, options)
    if "guidance" in options:
        _set_guidance(request.guidance, options["guidance"])
    if "input_image" in options:
        _set_input_image(request.input_image, options["input_image"])
    _set_skip_tuning(request.skip_tuning, options)
    _set_output(request.output, options)
    return request


def with_seeds(request: GenerateRequest) -> GenerateRequest:
    """A copy with a seed, so that sending it twice gives the same images.

    A request without seeds gets one drawn here: image i uses it plus i. With a request_id the seed
    follows from that id, so that the same call made again is the same request.
    """
    result = GenerateRequest()
    result.CopyFrom(request)
    if not result.seeds:
        if not result.HasField("count"):
            result.count = max(1, len(result.classes))
        named = request.request_id
        result.seeds.append(
            zlib.crc32(named.encode()) if named else secrets.randbits(32),
        )
    return result


def with_request_id(request: GenerateRequest) -> GenerateRequest:
    """A copy with an id, so that a retry joins what the first try still runs or has left."""
    result = GenerateRequest()
    result.CopyFrom(request)
    if not result.request_id:
        result.request_id = secrets.token_hex(16)
    return result


def request_from_png(source: str | Path | bytes) -> GenerateRequest:
    """The resolved request inside a PNG made by the service: sent again, it gives the same image.

    `source` is a file or the bytes of one. Raises ValueError if there is no request in it.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with PilImage.open(file) as image:
        image.load()  # text may follow the pixels
        text = dict(image.info).get(PNG_REQUEST_KEY)
    if not isinstance(text, str):
        raise ValueError(f'no text chunk "{PNG_REQUEST_KEY}": not a PNG made by Skipstream')
    try:
        return json_format.Parse(text, GenerateRequest())
    except json_format.ParseError as error:
        raise ValueError(f'text chunk "{PNG_REQUEST_KEY}" holds no request: {error}') from error


def _choose(option: str, name: _Name, values: Mapping[_Name, _Value]) -> _Value:
    if name not in values:
        raise ValueError(f"{option} must be one of {', '.join(values)}; got {name!r}")
    return values[name]


def _choose_enum(option: str, name: str, enum: type[_Enum]) -> _Enum:
    """The value of the API that is meant: SOLVER_DPMPP_2M is "dpmpp_2m"."""
    wrapper = cast(EnumTypeWrapper, enum)
    prefix = wrapper.Name(0).removesuffix("UNSPECIFIED")
    values = {key.removeprefix(prefix).lower(): value for key, value in wrapper.items() if value}
    return cast(_Enum, _choose(option, name, values))


def _set_classes(request: GenerateRequest, options: RequestOptions) -> None:
    classes = options.get("classes", ())
    single = isinstance(classes, str) or is_single(classes)
    for i, selector in enumerate((classes,) if single else sequence("classes", classes)):
        if isinstance(selector, str):
            request.classes.add(name=selector)
        else:
            request.classes.add(index=integer("classes" if single else f"classes[{i}]", selector))


def _set_seeds(request: GenerateRequest, options: RequestOptions) -> None:
    seeds = options.get("seeds", ())
    if is_single(seeds):
        # One seed stands for a run of them, so it says nothing about the count.
        if not request.HasField("count"):
            request.count = max(1, len(request.classes))
        request.seeds.append(integer("seeds", seeds, UINT32))
    else:
        request.seeds.extend(integers("seeds", seeds, UINT32))


def _set_sampler(sampler: pb.Sampler, options: RequestOptions) -> None:
    if "solver" in options:
        sampler.solver = _choose_enum("solver", options["solver"], pb.Solver)
    if "nfe" in options:
        sampler.nfe = integer("nfe", options["nfe"])
    if "sigma_min" in options:
        sampler.sigma_min = number("sigma_min", options["sigma_min"])
    if "sigma_max" in options:
        sampler.sigma_max = number("sigma_max", options["sigma_max"])
    if "final_step" in options:
        sampler.final_step = _choose_enum("final_step", options["final_step"], pb.FinalStep)
    _set_schedule(sampler, options)
    if "conditioning_sigmas" in options:
        sampler.conditioning_sigmas.extend(
            numbers("conditioning_sigmas", options["conditioning_sigmas"])
        )
    _set_solver_options(sampler, options)


def _set_schedule(sampler: pb.Sampler, options: RequestOptions) -> None:
    if "sigmas" in options:
        for other in ("schedule", "schedule_exponent"):
            if other in options:
                raise ValueError(f"{other} describes noise levels, sigmas lists them: give one")
        sampler.explicit_levels.SetInParent()
        sampler.explicit_levels.sigmas.extend(numbers("sigmas", options["sigmas"]))
    if "schedule" in options:
        schedule = options["schedule"]
        _choose("schedule", schedule, dict.fromkeys(_SCHEDULES))
        getattr(sampler, schedule).SetInParent()
    if "schedule_exponent" in options:
        if options.get("schedule", "karras") != "karras":
            raise ValueError("schedule_exponent belongs to the Karras schedule")
        sampler.karras.schedule_exponent = number("schedule_exponent", options["schedule_exponent"])


def _set_solver_options(sampler: pb.Sampler, options: RequestOptions) -> None:
    if "churn" in options:
        churn = options["churn"]
        sampler.churn.s_churn = number("churn.s_churn", churn.s_churn)
        sampler.churn.s_min = number("churn.s_min", churn.s_min)
        if churn.s_max is not None:
            sampler.churn.s_max = number("churn.s_max", churn.s_max)
        sampler.churn.s_noise = number("churn.s_noise", churn.s_noise)
    if "step_noise" in options:
        noise = options["step_noise"]
        sampler.step_noise.eta = number("step_noise.eta", noise.eta)
        sampler.step_noise.s_noise = number("step_noise.s_noise", noise.s_noise)
    if "dpmpp_3m" in options:
        sampler.dpmpp_3m.SetInParent()
        sampler.dpmpp_3m.halved_curvature = flag(
            "dpmpp_3m.halved_curvature", options["dpmpp_3m"].halved_curvature
        )
    if "unipc" in options:
        unipc = options["unipc"]
        sampler.unipc.order = integer("unipc.order", unipc.order)
        sampler.unipc.variant = _choose_enum("variant", unipc.variant, pb.UnipcVariant)
        sampler.unipc.corrector = flag("unipc.corrector", unipc.corrector)
    if "consistency_sigma_min" in options:
        sampler.consistency_sigma_min = number(
            "consistency_sigma_min", options["consistency_sigma_min"]
        )


def _set_guidance(message: pb.Guidance, guidance: float | Guidance) -> None:
    if not isinstance(guidance, Guidance):
        message.scale = number("guidance", guidance)
        return
    message.scale = number("guidance.scale", guidance.scale)
    message.sigma_lo = number("guidance.sigma_lo", guidance.sigma_lo)
    if guidance.sigma_hi is not None:
        message.sigma_hi = number("guidance.sigma_hi", guidance.sigma_hi)
    message.guide_model = guidance.guide_model or ""
    message.guide_model_sha256 = guidance.guide_model_sha256 or ""


def _set_input_image(message: pb.InputImage, image: Picture | InputImage) -> None:
    if not isinstance(image, InputImage):
        image = InputImage(image)
    message.picture = _picture_bytes("picture", image.picture)
    if image.strength is not None:
        message.strength = number("input_image.strength", image.strength)
    if image.mask is not None:
        message.mask = _picture_bytes("mask", image.mask, grey=True)


def _picture_bytes(what: str, picture: Picture, *, grey: bool = False) -> bytes:
    if isinstance(picture, bytes):
        data = picture
    elif isinstance(picture, PilImage.Image):
        data = _encode_png(what, picture, grey)
    elif isinstance(picture, (str, Path)):
        with Path(picture).open("rb") as file:
            data = file.read(_MAX_PICTURE_BYTES + 1)
    else:
        raise TypeError(f"{what} must be bytes, a path or a PIL image; got {type(picture)}")
    if not data:
        raise ValueError(f"{what} is empty")
    if len(data) > _MAX_PICTURE_BYTES:
        raise ValueError(f"{what} is larger than {_MAX_PICTURE_BYTES} bytes")
    return data


def _encode_png(what: str, picture: PilImage.Image, grey: bool) -> bytes:
    if picture.mode[0] in "IF":  # their values have no fixed range
        raise ValueError(f"{what} has more than 8 bits per value (mode {picture.mode})")
    picture = ImageOps.exif_transpose(picture)
    mode = "L" if grey or picture.mode in ("1", "L", "LA") else "RGB"
    out = io.BytesIO()
    picture.convert(mode).save(out, "PNG")
    return out.getvalue()


def _set_skip_tuning(tuning: pb.SkipTuning, options: RequestOptions) -> None:
    if "preset" in options:
        if "rho" in options or "noise" in options:
            raise ValueError("preset replaces rho and noise: give one or the other")
        tuning.preset = options["preset"]
    if "rho" in options:
        rho = options["rho"]
        if isinstance(rho, LinearDepth):
            tuning.linear.bottom = number("rho.bottom", rho.bottom)
            tuning.linear.top = number("rho.top", rho.top)
        elif is_single(rho):
            tuning.rho = number("rho", rho)
        else:
            tuning.explicit_rho.SetInParent()
            tuning.explicit_rho.rho.extend(numbers("rho", rho))
    if "noise" in options:
        noise = options["noise"]
        if isinstance(noise, NoiseWindow):
            tuning.noise.window.sigma_lo = number("noise.sigma_lo", noise.sigma_lo)
            if noise.sigma_hi is not None:
                tuning.noise.window.sigma_hi = number("noise.sigma_hi", noise.sigma_hi)
        elif isinstance(noise, NoiseRamp):
            tuning.noise.ramp.direction = _choose("strongest_at", noise.strongest_at, _RAMP_ENDS)
        else:
            tuning.noise.knots.SetInParent()
            for i, (sigma, strength) in enumerate(noise.knots):
                tuning.noise.knots.knots.add(
                    sigma=number(f"noise.knots[{i}].sigma", sigma),
                    strength=number(f"noise.knots[{i}].strength", strength),
                )


def _set_output(output: pb.Output, options: RequestOptions) -> None:
    if "format" in options:
        output.format = _choose_enum("format", options["format"], pb.ImageFormat)
    if "scale" in options:
        output.scale = integer("scale", options["scale"])
    if "preview_every" in options:
        output.preview_every = integer("preview_every", options["preview_every"])
    if "no_metadata" in options:
        output.no_metadata = flag("no_metadata", options["no_metadata"])
