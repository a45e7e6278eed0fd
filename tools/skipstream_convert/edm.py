"""EDM snapshots (network-snapshot-*.pkl and the published ones): a pickled network object.

The network is a persistent object (globals_table): its class is the preconditioning, the
constructor's arguments are the configuration, and its tree of modules holds the parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from skipstream_convert.config import check_preconditioning
from skipstream_convert.conversion import Conversion, Options, select_parameters
from skipstream_convert.errors import ConvertError, listed, quoted
from skipstream_convert.globals_table import NumpyArray, PersistentObject
from skipstream_convert.network import make_network
from skipstream_convert.pickle_machine import InertObject
from skipstream_convert.tensors import Tensor

_DEFAULT_NETWORK = "ema"
_NAME = re.compile(r"\w{1,64}", re.ASCII)
_MAX_DEPTH = 16
_MAX_CONFIG_VALUES = 256
_MAX_ARGUMENTS = 256

# Buffers that the configuration determines, by preconditioning; dropped.
_DERIVED_BUFFERS = {"iDDPMPrecond": ("u",)}


def holds_networks(root: Any) -> bool:
    return isinstance(root, PersistentObject) or (
        isinstance(root, dict) and any(isinstance(v, PersistentObject) for v in root.values())
    )


def convert_edm(root: Any, options: Options) -> Conversion:
    found = _find_network(root, options.network)
    name = found.class_name
    check_preconditioning(name)
    if options.preconditioning not in (None, name):
        raise ConvertError(f"the file says {name}; leave out --preconditioning")
    arguments = _constructor_arguments(found)
    if options.resolution not in (None, arguments.get("img_resolution")):
        raise ConvertError(
            f"the file says {arguments.get('img_resolution')} pixels; leave out --resolution"
        )
    network = make_network(name, {**arguments, **options.config})
    tensors = dict(_tensors(found))
    for buffer in _DERIVED_BUFFERS.get(name, ()):
        tensors.pop(buffer, None)
    origin = "the constructor arguments in the file"
    if options.config:
        origin += f", with --config {', '.join(options.config)}"
    return Conversion("edm", network, select_parameters(network, tensors), origin)


def _find_network(root: Any, wanted: str | None) -> PersistentObject:
    if isinstance(root, PersistentObject):
        if wanted is not None:
            raise ConvertError("the file is a single network; leave out --network")
        return root
    if not isinstance(root, dict):
        raise ConvertError(f"holds a {type(root).__name__}, not a snapshot with a network")
    names = [k for k, v in root.items() if isinstance(v, PersistentObject) and isinstance(k, str)]
    found = root.get(_DEFAULT_NETWORK if wanted is None else wanted)
    if not isinstance(found, PersistentObject):
        raise ConvertError(
            f"no network {quoted(wanted or _DEFAULT_NETWORK)} in the file; "
            f"--network takes one of: {listed(names) or 'none, there is none'}"
        )
    return found


def _constructor_arguments(network: PersistentObject) -> dict[str, Any]:
    state = _state(network)
    positional, named = state.get("_init_args"), state.get("_init_kwargs")
    if not isinstance(positional, tuple | list) or not isinstance(named, dict):
        raise ConvertError(f"{network.class_name} was pickled without its constructor arguments")
    order = check_preconditioning(network.class_name).positional
    if len(positional) > len(order):
        raise ConvertError(f"{network.class_name} has {len(positional)} positional arguments")
    if len(named) > _MAX_ARGUMENTS:  # each is copied, and all may be the same list
        raise ConvertError(f"{network.class_name} has {len(named)} arguments")
    arguments = dict(zip(order, positional, strict=False))
    for key, value in named.items():
        if type(key) is not str or key in arguments:
            raise ConvertError(f"{network.class_name}: argument {quoted(key)} is given twice")
        arguments[key] = value
    return {key: _plain(key, value) for key, value in arguments.items()}


def _plain(key: str, value: Any) -> Any:
    """A number, text or flat list of numbers, as JSON has them."""
    if isinstance(value, NumpyArray):
        value = value.values()
    if type(value) in (tuple, list):
        if len(value) > _MAX_CONFIG_VALUES or any(type(v) not in (int, float) for v in value):
            raise ConvertError(f"argument {quoted(key)} is not a short list of numbers")
        return list(value)
    if type(value) is float and np.isnan(value):
        raise ConvertError(f"argument {quoted(key)} is not a number")
    if type(value) in (int, float, bool, str):
        return value
    raise ConvertError(f"argument {quoted(key)} is a {type(value).__name__}")


def _state(module: InertObject) -> dict[str, Any]:
    if not isinstance(module.state, dict):
        raise ConvertError(f"a {module.class_name} has no state")
    return module.state


def _tensors(root: InertObject) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by their dotted names."""
    visited: set[int] = set()
    pending = [("", 0, root)]
    while pending:
        prefix, depth, module = pending.pop()
        # Every module once: a graph of shared modules has exponentially many names, a cycle no end.
        if id(module) in visited or depth > _MAX_DEPTH:
            raise ConvertError(
                f"module {quoted(prefix)} is shared, inside itself or nested too deeply"
            )
        visited.add(id(module))
        for kind in ("_parameters", "_buffers"):
            for name, tensor in _members(module, kind, prefix):
                if not isinstance(tensor, Tensor):
                    raise ConvertError(f"{quoted(prefix + name)} is a {type(tensor).__name__}")
                yield prefix + name, tensor
        for name, child in _members(module, "_modules", prefix):
            if not isinstance(child, InertObject):
                raise ConvertError(
                    f"{quoted(prefix + name)} is a {type(child).__name__}, not a module"
                )
            pending.append((f"{prefix}{name}.", depth + 1, child))


def _members(module: InertObject, kind: str, prefix: str) -> Iterator[tuple[str, Any]]:
    members = _state(module).get(kind, {})
    if not isinstance(members, dict):
        raise ConvertError(f"{kind} of {quoted(prefix)} is a {type(members).__name__}")
    for name, value in members.items():
        if type(name) is not str or not _NAME.fullmatch(name):
            raise ConvertError(f"{quoted(name)} in {quoted(prefix)} is no name of a parameter")
        if value is not None:  # registered without a value
            yield name, value
