"""The configuration of a model file: constructor arguments of a published preconditioner and its
network, checked. Names and defaults are EDM's (arXiv 2206.00364).

The server decides what is valid: unet_config.cc and song_unet_config.cc in
model/families/edm_unet, and model/diffusion/preconditioning.cc. Both are tested with the
configurations in tests/tools/convert/configs.json.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skipstream_convert.errors import ConvertError, listed, quoted

MAX_FILTER_TAPS = 16
MAX_FILTER_TAP = 64
_MIN_FILTER_SUM = 0.01
_MAX_RESOLUTION = 1024
_MAX_ATTENTION_RESOLUTION = 128
_MAX_LEVELS = 12
_MAX_CHANNELS = 1 << 16


@dataclass(frozen=True, slots=True)
class Integer:
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Integers:
    low: int
    high: int
    most: int  # elements


@dataclass(frozen=True, slots=True)
class Number:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Numbers:
    low: float
    high: float
    most: int  # elements


@dataclass(frozen=True, slots=True)
class Boolean:
    pass


@dataclass(frozen=True, slots=True)
class Choice:
    values: tuple[str, ...]


Form = Integer | Integers | Number | Numbers | Boolean | Choice

# Checked and left out: of training, and the server's choice.
_WITHOUT_EFFECT: dict[str, Form] = {"dropout": Number(0.0, 1.0), "use_fp16": Boolean()}
# Keys the two networks share.
_COMMON: dict[str, Form] = {
    "img_resolution": Integer(1, _MAX_RESOLUTION),
    "img_channels": Integer(1, 16),
    "label_dim": Integer(0, 1 << 20),
    "augment_dim": Integer(0, 1 << 16),
    "model_channels": Integer(4, _MAX_CHANNELS),
    "channel_mult": Integers(1, 64, _MAX_LEVELS),
    "channel_mult_emb": Integer(1, 64),
    "num_blocks": Integer(1, 64),
    "attn_resolutions": Integers(1, _MAX_ATTENTION_RESOLUTION, 16),
    "label_dropout": Number(0.0, 1.0),
}
_SONG: dict[str, Form] = {
    "embedding_type": Choice(("positional", "fourier")),
    "channel_mult_noise": Integer(1, 64),
    "encoder_type": Choice(("standard", "skip", "residual")),
    "decoder_type": Choice(("standard", "skip")),
    "resample_filter": Numbers(-MAX_FILTER_TAP, MAX_FILTER_TAP, MAX_FILTER_TAPS),
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "SongUNet": {
        "label_dim": 0,
        "augment_dim": 0,
        "model_channels": 128,
        "channel_mult": [1, 2, 2, 2],
        "channel_mult_emb": 4,
        "num_blocks": 4,
        "attn_resolutions": [16],
        "label_dropout": 0,
        "embedding_type": "positional",
        "channel_mult_noise": 1,
        "encoder_type": "standard",
        "decoder_type": "standard",
        "resample_filter": [1, 1],
    },
    "DhariwalUNet": {
        "label_dim": 0,
        "augment_dim": 0,
        "model_channels": 192,
        "channel_mult": [1, 2, 3, 4],
        "channel_mult_emb": 4,
        "num_blocks": 3,
        "attn_resolutions": [32, 16, 8],
        "label_dropout": 0,
    },
}
FAMILIES = tuple(_DEFAULTS)

_TINY = 1e-12
_HUGE = 1e12


@dataclass(frozen=True, slots=True)
class Preconditioner:
    keys: Mapping[str, Form]
    model_type: str  # where the arguments do not say
    positional: tuple[str, ...]  # the constructor's order
    defaults: Mapping[str, float]  # of `keys`
    check: Callable[[Mapping[str, Any]], None]  # of the values of `keys` together
    output_factor: int = 1  # output channels per image channel


def _preconditioner(
    keys: dict[str, tuple[Form, float]],
    model_type: str,
    check: Callable[[Mapping[str, Any]], None],
    output_factor: int = 1,
) -> Preconditioner:
    positional = ("img_resolution", "img_channels", "label_dim", "use_fp16", *keys, "model_type")
    return Preconditioner(
        {key: form for key, (form, _) in keys.items()},
        model_type,
        positional,
        {key: default for key, (_, default) in keys.items()},
        check,
        output_factor,
    )


def _check_limits(values: Mapping[str, Any]) -> None:
    if not values["sigma_min"] < values["sigma_max"]:
        raise ConvertError("config: sigma_max must exceed sigma_min")


def _check_vp(values: Mapping[str, Any]) -> None:
    """The limits of the noise level (EDM Table 1), in float32 as the published networks do it."""
    beta_d, beta_min = np.float32(values["beta_d"]), np.float32(values["beta_min"])

    def sigma(t: np.float32) -> np.float32:
        exponent = np.float32(0.5) * beta_d * (t * t) + beta_min * t
        return np.float32(np.sqrt(np.exp(exponent) - np.float32(1)))

    with np.errstate(over="ignore"):
        if not np.isfinite(sigma(np.float32(1))):
            raise ConvertError("config: beta_d makes sigma_max infinite")
        if not sigma(np.float32(values["epsilon_t"])) > 0:
            raise ConvertError("config: epsilon_t makes sigma_min zero")


def _check_iddpm(values: Mapping[str, Any]) -> None:
    """The levels u_j (EDM Table 1), in float32 for the same reason, must descend."""
    count, least = values["M"], np.float32(values["C_1"])
    angles = np.float32(0.5 * math.pi) * np.arange(count + 1, dtype=np.float32)
    angles = angles / np.float32(count) / np.float32(values["C_2"] + 1.0)
    alpha_bar = np.square(np.sin(angles))
    one = np.float32(1)
    level = np.float32(0)
    with np.errstate(over="ignore", invalid="ignore"):
        for j in range(count, 0, -1):
            ratio = max(alpha_bar[j - 1] / alpha_bar[j], least)
            above = np.sqrt((level * level + one) / ratio - one)
            # Once a level is not a number, no larger level is one.
            if not (above > level and np.isfinite(above)):
                raise ConvertError("config: M with C_1 and C_2 makes levels that do not descend")
            level = above


PRECONDITIONERS: dict[str, Preconditioner] = {
    "EDMPrecond": _preconditioner(
        {
            "sigma_min": (Number(0.0, _HUGE), 0.0),
            "sigma_max": (Number(_TINY, _HUGE), math.inf),
            "sigma_data": (Number(_TINY, _HUGE), 0.5),
        },
        "DhariwalUNet",
        _check_limits,
    ),
    "VPPrecond": _preconditioner(
        {
            "beta_d": (Number(_TINY, 1e3), 19.9),
            "beta_min": (Number(0.0, 1e3), 0.1),
            "M": (Number(2.0, 1e6), 1000),
            "epsilon_t": (Number(_TINY, 0.5), 1e-5),
        },
        "SongUNet",
        _check_vp,
    ),
    "VEPrecond": _preconditioner(
        {
            "sigma_min": (Number(_TINY, _HUGE), 0.02),
            "sigma_max": (Number(_TINY, _HUGE), 100.0),
        },
        "SongUNet",
        _check_limits,
    ),
    "iDDPMPrecond": _preconditioner(
        {
            "C_1": (Number(1e-6, 0.999), 0.001),
            "C_2": (Number(0.0, 1.0), 0.008),
            "M": (Integer(2, 10_000), 1000),
        },
        "DhariwalUNet",
        _check_iddpm,
        output_factor=2,
    ),
    # The parametrisation of consistency models (arXiv 2303.01469); the class is ours.
    "CMPrecond": _preconditioner(
        {
            "sigma_min": (Number(_TINY, _HUGE), 0.002),
            "sigma_max": (Number(_TINY, _HUGE), 80.0),
            "sigma_data": (Number(_TINY, _HUGE), 0.5),
        },
        "DhariwalUNet",
        _check_limits,
    ),
}


def check_preconditioning(name: str) -> Preconditioner:
    known = PRECONDITIONERS.get(name)
    if known is None:
        raise ConvertError(
            f"preconditioning {quoted(name)} is not one of {listed(PRECONDITIONERS)}"
        )
    return known


def complete_config(preconditioning: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Checks constructor arguments and fills in the published defaults of the network.

    ConvertError, naming the key and what would be valid, for anything out of range.
    """
    known = check_preconditioning(preconditioning)
    arguments = dict(arguments)
    for key, form in _WITHOUT_EFFECT.items():
        if key in arguments:
            _checked(key, arguments.pop(key), form)
    # JSON has no infinity; the defaults of EDM are no limits.
    if preconditioning == "EDMPrecond":
        for key in ("sigma_min", "sigma_max"):
            if type(arguments.get(key)) in (int, float) and arguments[key] == known.defaults[key]:
                del arguments[key]
    model_type = arguments.pop("model_type", known.model_type)
    if model_type not in FAMILIES:
        raise ConvertError(
            f"config: model_type {quoted(model_type)} is not one of {listed(FAMILIES)}"
        )
    forms = {**_COMMON, **(_SONG if model_type == "SongUNet" else {}), **known.keys}
    unknown = [key for key in arguments if key not in forms]
    if unknown:
        raise ConvertError(
            f"config: {listed(unknown)} is no argument of {preconditioning} with {model_type}; "
            f"valid are {', '.join(forms)}"
        )
    for key in ("img_resolution", "img_channels"):
        if key not in arguments:
            raise ConvertError(f"config: {key} is missing")
    config: dict[str, Any] = {"model_type": model_type, **_DEFAULTS[model_type], **arguments}
    for key, value in config.items():
        if key != "model_type":
            config[key] = _checked(key, value, forms[key])
    _check_sizes(config)
    known.check({key: config.get(key, default) for key, default in known.defaults.items()})
    return config


def _is_integer(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _checked(key: str, value: Any, form: Form) -> Any:
    match form:
        case Integer(low, high):
            if _is_integer(value, low, high):
                return value
            raise ConvertError(f"config: {key} must be an integer from {low} to {high}")
        case Integers(low, high, most):
            fits = type(value) is list and len(value) <= most
            if fits and all(_is_integer(item, low, high) for item in value):
                return value
            raise ConvertError(
                f"config: {key} must be a list of at most {most} integers from {low} to {high}"
            )
        case Number(low_number, high_number):
            if _is_number(value, low_number, high_number):
                return value
            raise ConvertError(f"config: {key} must be a number from {low_number} to {high_number}")
        case Numbers(low_number, high_number, most):
            fits = type(value) is list and len(value) <= most
            if fits and all(_is_number(item, low_number, high_number) for item in value):
                return value
            raise ConvertError(
                f"config: {key} must be a list of at most {most} numbers from {low_number} to "
                f"{high_number}"
            )
        case Boolean():
            if type(value) is bool:
                return value
            raise ConvertError(f"config: {key} must be true or false")
        case Choice(values):
            if type(value) is str and value in values:
                return value
            raise ConvertError(f"config: {key} must be one of {listed(values)}")


def _check_sizes(config: Mapping[str, Any]) -> None:
    multipliers = config["channel_mult"]
    if not multipliers:
        raise ConvertError("config: channel_mult must not be empty")
    if config["model_channels"] % 2:
        raise ConvertError("config: model_channels must be even")
    if config["model_channels"] * max(*multipliers, config["channel_mult_emb"]) > _MAX_CHANNELS:
        raise ConvertError(
            f"config: model_channels times the largest multiplier must be at most {_MAX_CHANNELS}"
        )
    if config["img_resolution"] % (1 << (len(multipliers) - 1)):
        raise ConvertError(
            "config: img_resolution must be divisible by 2 once per level after the first of "
            f"{len(multipliers)}"
        )
    if config["img_resolution"] >> (len(multipliers) - 1) > _MAX_ATTENTION_RESOLUTION:
        raise ConvertError(  # the innermost level always attends
            "config: channel_mult must have enough levels to reach resolution "
            f"{_MAX_ATTENTION_RESOLUTION} or less"
        )
    if config["model_type"] == "SongUNet":
        _check_filter(config["resample_filter"])


def _check_filter(taps: list[float]) -> None:
    if not taps or len(taps) % 2:
        raise ConvertError("config: resample_filter must have an even number of entries")
    total = 0.0
    for tap in taps:  # sum() of newer Pythons rounds otherwise than the server
        total += tap
    if total < _MIN_FILTER_SUM:
        raise ConvertError(f"config: resample_filter must sum to at least {_MIN_FILTER_SUM}")
