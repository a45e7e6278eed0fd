"""state_dicts: tensors by name, of an EDM network (as DMD2 distributes them) or of the
guided-diffusion UNet that consistency models use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skipstream_convert.config import PRECONDITIONERS
from skipstream_convert.conversion import Conversion, Options, select_parameters
from skipstream_convert.derive import derive_config
from skipstream_convert.errors import ConvertError, listed, quoted
from skipstream_convert.network import make_network
from skipstream_convert.tensors import Tensor

# Each names its network once, whatever prefix wrappers have put before it.
EDM_LANDMARK = "map_layer0.weight"
CONSISTENCY_LANDMARK = "time_embed.0.weight"

_MAX_NAME = 256


def find_tensors(root: Any, landmark: str, wanted: str | None) -> tuple[dict[str, Tensor], int]:
    """The tensors of one network, names without their prefix, and how many others there are.

    `wanted`: the key of the dict or the prefix that holds it, where several do.
    """
    candidates = _candidates(root, landmark)
    if wanted is not None:
        candidates = {
            label: group
            for label, group in candidates.items()
            if wanted.rstrip(".") in (label, label.removesuffix("model").rstrip("."))
        }
    if len(candidates) != 1:
        names = listed(_candidates(root, landmark)) or "none"
        if wanted is not None:
            raise ConvertError(
                f"no network {quoted(wanted)} in the file; --network takes one of: {names}"
            )
        if not candidates:
            raise ConvertError(f"no tensor ...{landmark}: the file holds no network of this kind")
        raise ConvertError(f"several networks; choose one with --network: {names}")
    tensors, prefix = next(iter(candidates.values()))
    selected = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    return selected, len(tensors) - len(selected)


def has_landmark(root: Any, landmark: str) -> bool:
    return bool(_candidates(root, landmark))


def _candidates(root: Any, landmark: str) -> dict[str, tuple[dict[str, Tensor], str]]:
    """By label (dict key and prefix, joined by dots): the tensors of the dict, and the prefix.

    A dict that occurs several times counts under its first key: looking at it for each takes
    quadratic time.
    """
    if not isinstance(root, dict):
        raise ConvertError(f"holds a {type(root).__name__}, not a dict of tensors")
    dicts = {"": root} | {k: v for k, v in root.items() if isinstance(v, dict) and type(k) is str}
    visited = set()
    found = {}
    for key, members in dicts.items():
        if id(members) in visited:
            continue
        visited.add(id(members))
        tensors = {
            name: value
            for name, value in members.items()
            if isinstance(value, Tensor) and type(name) is str and len(name) <= _MAX_NAME
        }
        for name in tensors:
            head = name.removesuffix(landmark)
            if head != name and (not head or head.endswith(".")):
                label = ".".join(part for part in (key, head.rstrip(".")) if part)
                found[label] = (tensors, head)
    return found


def convert_state_dict(root: Any, options: Options) -> Conversion:
    if options.preconditioning is None:
        raise ConvertError(
            "a state_dict does not say its preconditioning; "
            f"--preconditioning takes one of: {listed(PRECONDITIONERS)}"
        )
    found, others = find_tensors(root, EDM_LANDMARK, options.network)
    tensors: Mapping[str, Tensor] = {f"model.{name}": tensor for name, tensor in found.items()}
    derived = derive_config(tensors)
    if options.resolution not in (None, derived["img_resolution"]):
        raise ConvertError(
            f"the layers are named for {derived['img_resolution']} pixels; leave out --resolution"
        )
    assumed = []
    if derived["model_type"] == "SongUNet" and "resample_filter" not in {
        **derived,
        **options.config,
    }:
        if derived["encoder_type"] == "residual":
            raise ConvertError(
                "the file does not hold its resampling filter; "
                "give it with --config resample_filter=[1,3,3,1]"
            )
        assumed.append("resample_filter [1, 1]")
    network = make_network(options.preconditioning, {**derived, **options.config})
    origin = "derived from names and shapes"
    if options.config:
        origin += f", with --config {', '.join(options.config)}"
    if assumed:
        origin += f"; assumed: {', '.join(assumed)}"
    notes = (f"left out {others} tensors beside the network",) if others else ()
    return Conversion("state_dict", network, select_parameters(network, tensors), origin, notes)
