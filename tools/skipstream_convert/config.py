"""The configuration of a model file: constructor arguments of a published preconditioner and its
network, checked. Names and defaults are EDM's (arXiv 2206.00364), ranges are those of the server.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skipstream_convert.errors import ConvertError, listed, quoted

_MAX_RESOLUTION = 1024
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
class Choice:
    values: tuple[str, ...]


Form = Integer | Integers | Number | Choice

# Keys the two networks share. Dropout (of training) and use_fp16 (the server's choice) are not.
_COMMON: dict[str, Form] = {
    "img_resolution": Integer(1, _MAX_RESOLUTION),
    "img_channels": Integer(1, 16),
    "label_dim": Integer(0, 1 << 20),
    "augment_dim": Integer(0, 1 << 16),
    "model_channels": Integer(4, _MAX_CHANNELS),
    "channel_mult": Integers(1, 64, _MAX_LEVELS),
    "channel_mult_emb": Integer(1, 64),
    "num_blocks": Integer(1, 64),
    "attn_resolutions": Integers(1, _MAX_RESOLUTION, 16),
    "label_dropout": Number(0.0, 1.0),
}
_SONG: dict[str, Form] = {
    "embedding_type": Choice(("positional", "fourier")),
    "channel_mult_noise": Integer(1, 64),
    "encoder_type": Choice(("standard", "skip", "residual")),
    "decoder_type": Choice(("standard", "skip")),
    "resample_filter": Integers(1, 64, 8),
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
    output_factor: int = 1  # output channels per image channel


def _preconditioner(
    keys: dict[str, Form], model_type: str, output_factor: int = 1
) -> Preconditioner:
    positional = ("img_resolution", "img_channels", "label_dim", "use_fp16", *keys, "model_type")
    return Preconditioner(keys, model_type, positional, output_factor)


PRECONDITIONERS: dict[str, Preconditioner] = {
    "EDMPrecond": _preconditioner(
        {
            "sigma_min": Number(0.0, _HUGE),
            "sigma_max": Number(_TINY, _HUGE),
            "sigma_data": Number(_TINY, _HUGE),
        },
        "DhariwalUNet",
    ),
    "VPPrecond": _preconditioner(
        {
            "beta_d": Number(_TINY, 1e3),
            "beta_min": Number(0.0, 1e3),
            "M": Number(2.0, 1e6),
            "epsilon_t": Number(_TINY, 0.5),
        },
        "SongUNet",
    ),
    "VEPrecond": _preconditioner(
        {"sigma_min": Number(_TINY, _HUGE), "sigma_max": Number(_TINY, _HUGE)}, "SongUNet"
    ),
    "iDDPMPrecond": _preconditioner(
        {
            "C_1": Number(1e-6, 0.999),
            "C_2": Number(0.0, 1.0),
            "M": Integer(2, 10_000),
        },
        "DhariwalUNet",
        output_factor=2,
    ),
    # The parametrisation of consistency models (arXiv 2303.01469); the class is ours.
    "CMPrecond": _preconditioner(
        {
            "sigma_min": Number(_TINY, _HUGE),
            "sigma_max": Number(_TINY, _HUGE),
            "sigma_data": Number(_TINY, _HUGE),
        },
        "DhariwalUNet",
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
    for key in ("use_fp16", "dropout"):
        arguments.pop(key, None)
    # JSON has no infinity; the defaults of EDM are no limits.
    if preconditioning == "EDMPrecond":
        if arguments.get("sigma_max") == math.inf:
            del arguments["sigma_max"]
        if arguments.get("sigma_min") == 0:
            del arguments["sigma_min"]
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
    sigma_min, sigma_max = config.get("sigma_min"), config.get("sigma_max")
    if sigma_min is not None and sigma_max is not None and sigma_min >= sigma_max:
        raise ConvertError("config: sigma_max must exceed sigma_min")
    return config


def _is_integer(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


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
            if type(value) in (int, float) and low_number <= value <= high_number:
                return value
            raise ConvertError(f"config: {key} must be a number from {low_number} to {high_number}")
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
    if not config.get("resample_filter", [1]):
        raise ConvertError("config: resample_filter must not be empty")
