"""Every global a checkpoint's pickle may name, by exact name, and the plain thing it stands for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from skipstream_convert.errors import ConvertError, quoted
from skipstream_convert.pickle_machine import (
    Builder,
    Globals,
    InertClass,
    InertDict,
    InertObject,
    checked_key,
)
from skipstream_convert.tensors import ELEMENT_TYPES, Tensor

# torch.nn modules seen inside networks. Only their names and states are ever looked at.
_TORCH_MODULES = (
    "torch.nn.modules.activation.SiLU",
    "torch.nn.modules.container.ModuleDict",
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.conv.Conv1d",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.dropout.Dropout",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.normalization.GroupNorm",
)
_NUMBER_CODES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
_MAX_ARRAY = 4096  # elements; arguments of constructors, never weights
_MAX_PERSISTENT_TEXT = 256
_HASHED_BYTES = 160  # an entry of a dict or set while it grows, and the bytes of an integer key


def _arguments(arguments: tuple[Any, ...], least: int, most: int) -> tuple[Any, ...]:
    if not least <= len(arguments) <= most:
        raise ConvertError(f"has {len(arguments)} arguments, not {least} to {most}")
    return arguments


# ---- torch ----


def _rebuild_tensor(arguments: tuple[Any, ...]) -> Tensor:
    return Tensor.view(*_arguments(arguments, 4, 7)[:4])


def _rebuild_parameter(arguments: tuple[Any, ...]) -> Tensor:
    tensor = _arguments(arguments, 1, 3)[0]
    if not isinstance(tensor, Tensor):
        raise ConvertError("is built on something that is no tensor")
    return tensor


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    items = _arguments(arguments, 1, 1)[0]
    if type(items) not in (tuple, list):
        raise ConvertError("needs a tuple")
    return tuple(items)


def _device(arguments: tuple[Any, ...]) -> str:
    kind = _arguments(arguments, 1, 2)[0]
    if type(kind) is not str:
        raise ConvertError("needs a name")
    return kind


# ---- Python ----


def _ordered_dict(arguments: tuple[Any, ...]) -> InertDict:
    result = InertDict()
    if _arguments(arguments, 0, 1):
        pairs = arguments[0]
        if type(pairs) not in (list, tuple):
            raise ConvertError("needs a list of pairs")
        for pair in pairs:
            if type(pair) not in (list, tuple) or len(pair) != 2:
                raise ConvertError("needs a list of pairs")
            key = checked_key(pair[0])
            if key in result:
                raise ConvertError(f"has key {quoted(str(pair[0]))} twice")
            result[key] = pair[1]
    return result


def _set(arguments: tuple[Any, ...]) -> set[Any]:
    items = _arguments(arguments, 0, 1)[0] if arguments else []
    if type(items) not in (list, tuple):
        raise ConvertError("needs a list")
    return {checked_key(item) for item in items}


def _encode(arguments: tuple[Any, ...]) -> bytes:
    """Returns bytes that protocol 2 spells as text of the characters U+0000 to U+00FF."""
    text, encoding = _arguments(arguments, 2, 2)
    if type(text) is not str or encoding != "latin1":
        raise ConvertError("is only known for latin1 text")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise ConvertError("has a character that is no byte") from None


# ---- numpy ----


class _Dtype(InertObject):
    """numpy.dtype(code); its state holds the byte order, and must hold nothing else."""

    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        super().__init__("numpy.dtype")
        self.code = code

    def resolve(self) -> np.dtype[Any]:
        state = self.state if self.state is not None else (3, "|")
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise ConvertError("numpy.dtype: only little-endian numbers are known")
        if any(part is not None for part in state[2:5]):
            raise ConvertError("numpy.dtype: only plain numbers are known")
        return np.dtype(self.code).newbyteorder("<")


class NumpyArray(InertObject):
    """numpy.ndarray; its state is (version, shape, dtype, column-major, bytes).

    Only a view of the file until someone asks for the values.
    """

    __slots__ = ()

    def __init__(self, state: Any = None) -> None:
        super().__init__("numpy.ndarray", state)

    def values(self) -> list[Any]:
        """Nested lists of Python numbers; of an array without any, an empty one."""
        state = self.state
        if type(state) is not tuple or len(state) != 5:
            raise ConvertError("numpy.ndarray: without the state numpy writes")
        _, shape, dtype, column_major, raw = state
        resolved = _element_type(raw, dtype, shape)
        if len(raw) == 0:
            return []
        order: Literal["F", "C"] = "F" if column_major is True else "C"
        values = np.frombuffer(raw, resolved).reshape(shape, order=order).tolist()
        return values if isinstance(values, list) else [values]


def _element_type(raw: Any, dtype: Any, shape: Any) -> np.dtype[Any]:
    """Of an array that has been checked."""
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | memoryview):
        raise ConvertError("numpy.ndarray: needs bytes and a dtype")
    if type(shape) is not tuple or len(shape) > 4 or not all(type(n) is int for n in shape):
        raise ConvertError("numpy.ndarray: the shape is not a tuple of at most 4 integers")
    numel = 1
    for count in shape:
        numel = numel * count if 0 <= count <= _MAX_ARRAY else _MAX_ARRAY + 1
    resolved = dtype.resolve()
    if numel > _MAX_ARRAY or numel * resolved.itemsize != len(raw):
        raise ConvertError(
            f"numpy.ndarray: shape and bytes disagree, or more than {_MAX_ARRAY} values"
        )
    return resolved


def _dtype(arguments: tuple[Any, ...]) -> _Dtype:
    code = _arguments(arguments, 1, 3)[0]
    if type(code) is not str or code not in _NUMBER_CODES:
        raise ConvertError(f"{quoted(code)} is not a number type")
    return _Dtype(code)


def _scalar(arguments: tuple[Any, ...]) -> Any:
    dtype, raw = _arguments(arguments, 2, 2)
    return NumpyArray((1, (1,), dtype, False, raw)).values()[0]


def _from_buffer(arguments: tuple[Any, ...]) -> NumpyArray:
    raw, dtype, shape, order = _arguments(arguments, 4, 4)
    _element_type(raw, dtype, shape)
    return NumpyArray((1, shape, dtype, order == "F", raw))


def _reconstruct_array(arguments: tuple[Any, ...]) -> NumpyArray:
    _arguments(arguments, 3, 3)
    return NumpyArray()


# ---- persistent objects of the EDM checkpoints ----


class PersistentObject(InertObject):
    """Form of torch_utils.persistence, less its source text: a class name and a state."""

    __slots__ = ()


def _persistent_object(arguments: tuple[Any, ...]) -> PersistentObject:
    meta = _arguments(arguments, 1, 1)[0]
    if type(meta) not in (dict, InertDict):
        raise ConvertError("needs a dict")
    class_name = meta.get("class_name")
    if meta.get("type") != "class" or meta.get("version") != 6:
        raise ConvertError("is only known for type 'class' of version 6")
    if type(class_name) is not str or not class_name.isidentifier():
        raise ConvertError(f"{quoted(class_name)} is no class name")
    if len(class_name) > _MAX_PERSISTENT_TEXT:
        raise ConvertError("the class name is too long")
    # meta["module_src"] is program text; it is not looked at.
    return PersistentObject(class_name, meta.get("state"))


# ---- tables ----


def _table(load_storage_bytes: Callable[[tuple[Any, ...]], Any] | None) -> Globals:
    # With what each makes of one item of its arguments, at most (Builder.item_bytes).
    builders: dict[str, tuple[Callable[[tuple[Any, ...]], Any], int]] = {
        "torch._utils._rebuild_tensor": (_rebuild_tensor, 0),
        "torch._utils._rebuild_tensor_v2": (_rebuild_tensor, 0),
        "torch._utils._rebuild_parameter": (_rebuild_parameter, 0),
        "torch.Size": (_size, 8),
        "torch.device": (_device, 0),
        "collections.OrderedDict": (_ordered_dict, _HASHED_BYTES),
        "builtins.set": (_set, _HASHED_BYTES),
        "__builtin__.set": (_set, _HASHED_BYTES),
        "_codecs.encode": (_encode, 1),
        "numpy.dtype": (_dtype, 0),
        "torch_utils.persistence._reconstruct_persistent_obj": (_persistent_object, 0),
    }
    for package in ("numpy.core", "numpy._core"):
        builders[f"{package}.multiarray.scalar"] = (_scalar, 0)
        builders[f"{package}.multiarray._reconstruct"] = (_reconstruct_array, 0)
        builders[f"{package}.numeric._frombuffer"] = (_from_buffer, 0)
    if load_storage_bytes is not None:
        builders["torch.storage._load_from_bytes"] = (load_storage_bytes, 0)
    known: dict[str, Any] = {
        name: Builder(name, build, item_bytes) for name, (build, item_bytes) in builders.items()
    }
    for name in _TORCH_MODULES:
        known[name] = InertClass(name, functools.partial(InertObject, name))
    known["dnnlib.util.EasyDict"] = InertClass("dnnlib.util.EasyDict", InertDict)
    # Named as arguments only.
    for name in ("numpy.ndarray", "torch.float16", "torch.float32", "torch.bfloat16"):
        known[name] = InertObject(name, ())
    for name, element in ELEMENT_TYPES.items():
        known[f"torch.{name}"] = element
    table = {}
    for name, value in known.items():
        module, _, attribute = name.rpartition(".")
        table[module, attribute] = value
    return MappingProxyType(table)


# Inside the bytes of one storage: nothing but its type.
STORAGE_GLOBALS: Globals = MappingProxyType(
    {("torch", name): element for name, element in ELEMENT_TYPES.items()}
)


def checkpoint_globals(
    load_storage_bytes: Callable[[tuple[Any, ...]], Any] | None,
) -> Globals:
    """`load_storage_bytes` builds torch.storage._load_from_bytes; none: that is refused."""
    return _table(load_storage_bytes)
