"""Descriptions of a server and its models, as plain immutable values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from skipstream._proto.skipstream.v1 import image_generation_pb2 as pb
from skipstream._proto.skipstream.v1 import model_control_pb2
from skipstream.options import SolverName


@dataclass(frozen=True)
class ModelSummary:
    """A model in short."""

    name: str
    """Name that a request gives."""
    is_default: bool
    """Used when a request names no model."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    num_classes: int
    """0 for a model without classes."""
    num_skips: int
    """K, the number of skip connections."""


@dataclass(frozen=True)
class Limits:
    """Ranges a request for a model may use."""

    max_count: int
    """Images per request."""
    max_nfe: int
    """Network evaluations per image."""
    max_scale: int
    """Enlargement."""
    sigma_min: float
    """Lowest noise level (exclusive if 0)."""
    sigma_max: float
    """Highest noise level."""
    rho_min: float
    """Lowest skip coefficient."""
    rho_max: float
    """Highest skip coefficient."""


@dataclass(frozen=True)
class Preset:
    """A recommended skip-tuning."""

    name: str
    """Name that a request gives."""
    solver: SolverName | None
    """Solver it was found for; None: any."""
    nfe: int
    """NFE it was found for."""
    skip_tuning: pb.SkipTuning = field(repr=False)
    """The skip-tuning that it sets."""


@dataclass(frozen=True)
class ModelInfo:
    """A model in full."""

    name: str
    """Name that a request gives."""
    is_default: bool
    """Used when a request names no model."""
    sha256: str
    """SHA-256 of the model file, lower-case hex."""
    architecture: str
    """Network family: SongUNet or DhariwalUNet."""
    preconditioning: str
    """EDMPrecond, VPPrecond, VEPrecond, iDDPMPrecond or CMPrecond."""
    parameter_count: int
    """Number of parameters."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    num_classes: int
    """0 for a model without classes."""
    class_names: tuple[str, ...]
    """Names in index order; empty if the model has no names."""
    num_skips: int
    """K, the number of skip connections."""
    presets: tuple[Preset, ...]
    """Recommended skip-tunings."""
    license: str
    """Licence, as the model file states it."""
    limits: Limits
    """Ranges a request may use."""
    supports_guidance: bool
    """Trained with label dropout: guidance works without a guide model."""
    kernels: str
    """Kernels of the network: fused (the server's own) or reference (LibTorch)."""
    precision: str
    """Precision of products: float32 or bfloat16. Images of the two differ slightly."""
    sigma_levels: tuple[float, ...] = field(repr=False)
    """The only noise levels the model knows, descending; empty: any within the limits."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that the server has just loaded."""

    name: str
    """Name that a request gives."""
    sha256: str
    """SHA-256 of the model file, lower-case hex."""
    replaced_sha256: str | None = None
    """SHA-256 of the file of the model that it replaced; None if there was none."""


@dataclass(frozen=True)
class Health:
    """Health of a server."""

    live: bool
    """The process works."""
    ready: bool
    """It takes requests: neither draining nor broken."""


def loaded_from_proto(m: model_control_pb2.LoadResponse) -> LoadedModel:
    """Converts the answer of Load."""
    return LoadedModel(m.name, m.sha256, m.replaced_sha256 or None)


def summary_from_proto(m: pb.ModelSummary) -> ModelSummary:
    """Converts one entry of ListModels."""
    return ModelSummary(m.name, m.is_default, m.width, m.height, m.num_classes, m.num_skips)


def info_from_proto(m: pb.GetModelResponse) -> ModelInfo:
    """Converts the answer of GetModel."""
    limits = m.limits
    return ModelInfo(
        name=m.name,
        is_default=m.is_default,
        sha256=m.sha256,
        architecture=m.architecture,
        preconditioning=m.preconditioning,
        parameter_count=m.parameter_count,
        width=m.width,
        height=m.height,
        channels=m.channels,
        num_classes=m.num_classes,
        class_names=tuple(m.class_names),
        num_skips=m.num_skips,
        presets=tuple(_preset(preset) for preset in m.presets),
        license=m.license,
        kernels=m.kernels,
        precision=m.precision,
        limits=Limits(
            limits.max_count,
            limits.max_nfe,
            limits.max_scale,
            limits.sigma_min,
            limits.sigma_max,
            limits.rho_min,
            limits.rho_max,
        ),
        supports_guidance=m.supports_guidance,
        sigma_levels=tuple(m.sigma_levels),
    )


def _preset(p: pb.Preset) -> Preset:
    solver = None
    if p.solver != pb.SOLVER_UNSPECIFIED:
        name = pb.Solver.Name(p.solver).removeprefix("SOLVER_").lower()
        solver = cast(SolverName, name)
    return Preset(p.name, solver, p.nfe, p.skip_tuning)
