"""Options of a request, as plain Python values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from PIL import Image as PilImage

SolverName = Literal[
    "euler",
    "heun",
    "euler_ancestral",
    "dpmpp_2m",
    "dpmpp_3m",
    "dpmpp_2m_sde",
    "unipc",
    "ipndm",
    "dpm2",
    "consistency",
]
ScheduleName = Literal["karras", "exponential", "linear", "vp", "ve", "iddpm"]
FinalStepName = Literal["zero", "sigma_min"]
UnipcVariantName = Literal["bh1", "bh2"]
FormatName = Literal["png", "webp", "raw"]
PriorityName = Literal["low", "normal", "high"]
RampEnd = Literal["high", "low"]

Picture = bytes | str | Path | PilImage.Image
"""An image as an encoded file's bytes, a file, or in memory (numpy: `PIL.Image.fromarray`).

The server applies the EXIF orientation of files; that of a PIL image is applied here."""


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
    """1 to 64 pairs (sigma, strength), sigma above 0 and increasing, strength -1 to 1."""


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


@dataclass(frozen=True)
class StepNoise:
    """Fresh noise of the solvers euler_ancestral and dpmpp_2m_sde."""

    eta: float = 1.0
    """Share of the noise that is replaced by fresh noise; 0 is deterministic. Range: 0 to 1."""
    s_noise: float = 1.0
    """Standard deviation of the fresh noise. Range: above 0, at most 2."""


@dataclass(frozen=True)
class Dpmpp3m:
    """Form of the solver dpmpp_3m."""

    halved_curvature: bool = False
    """Weigh the second derivative by half, as the code published with the paper and diffusers do:
    the order of accuracy is 2 then, though the error at few evaluations is often smaller."""


@dataclass(frozen=True)
class Unipc:
    """Form of the solver unipc."""

    order: int = 2
    """Order of the predictor. Range: 1 to 3."""
    variant: UnipcVariantName = "bh2"
    """B(h) of the paper: h, or e^h - 1."""
    corrector: bool = True
    """True: each state is corrected with the evaluation made there."""


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance, or autoguidance by another model. Costs two rows while it is on."""

    scale: float
    """Range: 0 to 100; 1: none. Needs a model with `supports_guidance`, or a guide model."""
    sigma_lo: float = 0.0
    """Lowest noise level at which it is on. Range: 0 or more."""
    sigma_hi: float | None = None
    """Highest noise level at which it is on. Range: sigma_lo or more. None: no limit."""
    guide_model: str | None = None
    """Autoguidance: a model of the same shape. None: the model itself, without the class."""
    guide_model_sha256: str | None = None
    """Refuse unless the guide model's file has this SHA-256. None: any."""


@dataclass(frozen=True)
class InputImage:
    """An init image to start from or to inpaint."""

    picture: Picture
    """PNG, WebP or raw values, of the model's size; PNG and WebP also of a whole multiple of it."""
    strength: float | None = None
    """How much is made anew, above 0, at most 1. None: 0.6, or 1 with a mask."""
    mask: Picture | None = None
    """Inpainting: white is made anew, black stays. None: everything is made anew. A PNG that comes
    back carries the whole original image; `no_metadata` leaves it out."""


class RequestOptions(TypedDict, total=False):
    """What a request may say; everything has a default. The server checks the ranges.

    Numbers may be numpy's scalars and sequences its arrays. NaN and infinity are a ValueError.

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
    """Network evaluations per image, 1 to limits.max_nfe. heun and dpm2 need an odd number, or an
    even one with final_step "sigma_min". Default: 19."""
    sigma_min: float
    """Lowest positive noise level. Default: 0.002 (vp: about 0.0105, ve: 0.02), raised to the
    model's own limit."""
    sigma_max: float
    """Highest noise level. Default: 80 (vp: about 152, ve: 100, iddpm: 81), lowered to the model's
    own limit."""
    schedule: ScheduleName
    """Noise levels from sigma_max to sigma_min. Default: "karras"."""
    schedule_exponent: float
    """Exponent of the Karras schedule, 1 to 100. Default: 7."""
    sigmas: Sequence[float]
    """Explicit noise levels, strictly decreasing, positive, without the final 0."""
    final_step: FinalStepName
    """Noise level at which the last step ends. Default: "zero"."""
    conditioning_sigmas: Sequence[float]
    """Noise levels that the network is given, one per evaluation. Default: the true ones."""
    churn: Churn
    """Fresh noise per step, for euler and heun. Default: none."""
    step_noise: StepNoise
    """Fresh noise of euler_ancestral and dpmpp_2m_sde. Default: StepNoise()."""
    dpmpp_3m: Dpmpp3m
    """Form of dpmpp_3m. Default: Dpmpp3m()."""
    unipc: Unipc
    """Form of unipc. Default: Unipc()."""
    consistency_sigma_min: float
    """For consistency: the noise level at which the distilled model is the identity.
    Default: the model's own limit, or 0.002 if it has none; or the lowest level where a step starts
    if that is lower."""
    guidance: float | Guidance
    """Guidance, or only its scale. Default: 1, none."""
    input_image: Picture | InputImage
    """An init image to start from or to inpaint. Default: none, start from noise."""
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
    no_metadata: bool
    """Leave the request out of PNG files: they carry it, and with an input image the whole original
    image, also what a mask replaced. Default: False."""
    priority: PriorityName
    """Scheduling class. Default: "normal"."""
    request_id: str
    """Name of the request: sent again shortly after with the same name, it joins the running one or
    gets its result. 1 to 128 printable ASCII characters. Default: drawn if there are retries."""
    model_sha256: str
    """Refuse unless the model file has this SHA-256. Default: any."""
