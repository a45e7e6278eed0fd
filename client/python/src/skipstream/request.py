"""Building requests: plain Python values in, a GenerateRequest message out."""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, TypeVar, Unpack

from google.protobuf import json_format
from PIL import Image as PilImage

from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb

GenerateRequest = pb.GenerateRequest

SolverName = Literal["euler", "heun"]
FormatName = Literal["png", "webp", "raw"]
PriorityName = Literal["low", "normal", "high"]
RampEnd = Literal["high", "low"]

PNG_REQUEST_KEY = "skipstream.request"

_SOLVERS: dict[SolverName, pb.Solver] = {"euler": pb.SOLVER_EULER, "heun": pb.SOLVER_HEUN}
_FORMATS: dict[FormatName, pb.ImageFormat] = {
    "png": pb.IMAGE_FORMAT_PNG,
    "webp": pb.IMAGE_FORMAT_WEBP,
    "raw": pb.IMAGE_FORMAT_RAW,
}
_PRIORITIES: dict[PriorityName, pb.Priority] = {
    "low": pb.PRIORITY_LOW,
    "normal": pb.PRIORITY_NORMAL,
    "high": pb.PRIORITY_HIGH,
}
_RAMP_ENDS: dict[RampEnd, pb.NoiseRampDirection] = {
    "high": pb.NOISE_RAMP_DIRECTION_STRONGEST_AT_HIGH_SIGMA,
    "low": pb.NOISE_RAMP_DIRECTION_STRONGEST_AT_LOW_SIGMA,
}

_Name = TypeVar("_Name", bound=str)
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class LinearDepth:
    """rho changes linearly with depth, both ends reached. Range of each: 0 to 2."""

    bottom: float = 1.0
    """rho of the deepest skip."""
    top: float = 1.0
    """rho of the shallowest skip."""


@dataclass(frozen=True)
class NoiseWindow:
    """Full strength where sigma_lo <= sigma <= sigma_hi, none elsewhere."""

    sigma_lo: float = 0.0
    """Range: 0 or more."""
    sigma_hi: float | None = None
    """Range: sigma_lo or more. None: no limit."""


@dataclass(frozen=True)
class NoiseRamp:
    """Strength linear in log sigma, from 0 at one end of the schedule to 1 at the other."""

    strongest_at: RampEnd = "high"
    """The noise level with full strength."""


@dataclass(frozen=True)
class NoiseKnots:
    """Strength interpolated in log sigma between knots, constant beyond the outer ones."""

    knots: Sequence[tuple[float, float]]
    """1 to 64 pairs (sigma, strength), sigma above 0 and increasing, strength 0 to 1."""


NoiseProfile = NoiseWindow | NoiseRamp | NoiseKnots


@dataclass(frozen=True)
class Churn:
    """Fresh noise per step (EDM Algorithm 2)."""

    s_churn: float = 0.0
    """Amount, spread over the levels. Range: 0 to 1000."""
    s_min: float = 0.0
    """Lowest level that is churned. Range: 0 or more."""
    s_max: float | None = None
    """Highest level that is churned. Range: s_min or more. None: no limit."""
    s_noise: float = 1.0
    """Standard deviation of the fresh noise. Range: above 0, at most 2."""


class RequestOptions(TypedDict, total=False):
    """What a request may say; everything has a default. The server checks the ranges.

    See `Client.model()` for the limits, classes and presets of a model.
    """

    model: str
    """Name from `Client.models()`. Default: the server's default model."""
    count: int
    """Images, 1 to limits.max_count. Default: the larger of the number of seeds (a sequence)
    and of classes, at least 1."""
    seeds: int | Sequence[int]
    """0 to 2^32 - 1. One number: image i uses seed + i. A sequence: one per image.
    Default: drawn by this client."""
    classes: str | int | Sequence[str | int]
    """Names or indices: one for all images, or one per image.
    Default: image i uses seed_i modulo the number of classes."""
    solver: SolverName
    """Default: "heun"."""
    nfe: int
    """Network evaluations per image, 1 to limits.max_nfe; odd for Heun. Default: 19."""
    sigma_min: float
    """Lowest positive noise level. Default: 0.002, raised to the model's own limit."""
    sigma_max: float
    """Highest noise level. Default: 80, lowered to the model's own limit."""
    schedule_exponent: float
    """Exponent of the Karras schedule, 1 to 100. Default: 7."""
    sigmas: Sequence[float]
    """Explicit noise levels, strictly decreasing, positive, without the final 0."""
    churn: Churn
    """Fresh noise per step. Default: none."""
    rho: float | Sequence[float] | LinearDepth
    """Skip coefficients, 0 to 2: one for all skips, one per skip (deepest first), or linear.
    Default: 1, the plain network."""
    preset: str
    """Name of a skip-tuning preset of the model, in place of rho and noise."""
    noise: NoiseProfile
    """At which noise levels rho applies. Default: at all."""
    format: FormatName
    """Encoding of the images. Default: "png"."""
    scale: int
    """Enlargement, nearest neighbour, 1 to limits.max_scale. Default: 1."""
    preview_every: int
    """Evaluations between previews of an image; 0: none. Default: 0."""
    priority: PriorityName
    """Scheduling class. Default: "normal"."""
    model_sha256: str
    """Refuse unless the model file has this SHA-256. Default: any."""


def make_request(**options: Unpack[RequestOptions]) -> GenerateRequest:
    """Builds a request. Raises ValueError or TypeError for what a message cannot hold."""
    unknown = options.keys() - RequestOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown request option {min(unknown)!r}")
    request = GenerateRequest(
        model=options.get("model"),
        count=options.get("count"),
        model_sha256=options.get("model_sha256"),
    )
    if "priority" in options:
        request.priority = _choose("priority", options["priority"], _PRIORITIES)
    _set_classes(request, options)
    _set_seeds(request, options)
    _set_sampler(request.sampler, options)
    _set_skip_tuning(request.skip_tuning, options)
    _set_output(request.output, options)
    return request


def with_seeds(request: GenerateRequest) -> GenerateRequest:
    """A copy with a seed, so that sending it twice gives the same images.

    A request without seeds gets one drawn here: image i uses it plus i.
    """
    result = GenerateRequest()
    result.CopyFrom(request)
    if not result.seeds:
        if not result.HasField("count"):
            result.count = max(1, len(result.classes))
        result.seeds.append(secrets.randbits(32))
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


def _set_classes(request: GenerateRequest, options: RequestOptions) -> None:
    classes = options.get("classes", ())
    for selector in (classes,) if isinstance(classes, (str, int)) else classes:
        if isinstance(selector, str):
            request.classes.add(name=selector)
        else:
            request.classes.add(index=selector)


def _set_seeds(request: GenerateRequest, options: RequestOptions) -> None:
    seeds = options.get("seeds", ())
    if isinstance(seeds, int):
        # One seed stands for a run of them, so it says nothing about the count.
        if not request.HasField("count"):
            request.count = max(1, len(request.classes))
        seeds = (seeds,)
    request.seeds.extend(seeds)


def _set_sampler(sampler: pb.Sampler, options: RequestOptions) -> None:
    if "solver" in options:
        sampler.solver = _choose("solver", options["solver"], _SOLVERS)
    if "nfe" in options:
        sampler.nfe = options["nfe"]
    if "sigma_min" in options:
        sampler.sigma_min = options["sigma_min"]
    if "sigma_max" in options:
        sampler.sigma_max = options["sigma_max"]
    if "schedule_exponent" in options and "sigmas" in options:
        raise ValueError("schedule_exponent belongs to the Karras schedule: not with sigmas")
    if "schedule_exponent" in options:
        sampler.karras.schedule_exponent = options["schedule_exponent"]
    if "sigmas" in options:
        sampler.explicit_levels.SetInParent()
        sampler.explicit_levels.sigmas.extend(options["sigmas"])
    if "churn" in options:
        churn = options["churn"]
        sampler.churn.s_churn = churn.s_churn
        sampler.churn.s_min = churn.s_min
        if churn.s_max is not None:
            sampler.churn.s_max = churn.s_max
        sampler.churn.s_noise = churn.s_noise


def _set_skip_tuning(tuning: pb.SkipTuning, options: RequestOptions) -> None:
    if "preset" in options:
        if "rho" in options or "noise" in options:
            raise ValueError("preset replaces rho and noise: give one or the other")
        tuning.preset = options["preset"]
    if "rho" in options:
        rho = options["rho"]
        if isinstance(rho, LinearDepth):
            tuning.linear.bottom = rho.bottom
            tuning.linear.top = rho.top
        elif isinstance(rho, (int, float)):
            tuning.rho = rho
        else:
            tuning.explicit_rho.SetInParent()
            tuning.explicit_rho.rho.extend(rho)
    if "noise" in options:
        noise = options["noise"]
        if isinstance(noise, NoiseWindow):
            tuning.noise.window.sigma_lo = noise.sigma_lo
            if noise.sigma_hi is not None:
                tuning.noise.window.sigma_hi = noise.sigma_hi
        elif isinstance(noise, NoiseRamp):
            tuning.noise.ramp.direction = _choose("strongest_at", noise.strongest_at, _RAMP_ENDS)
        else:
            tuning.noise.knots.SetInParent()
            for sigma, strength in noise.knots:
                tuning.noise.knots.knots.add(sigma=sigma, strength=strength)


def _set_output(output: pb.Output, options: RequestOptions) -> None:
    if "format" in options:
        output.format = _choose("format", options["format"], _FORMATS)
    if "scale" in options:
        output.scale = options["scale"]
    if "preview_every" in options:
        output.preview_every = options["preview_every"]
