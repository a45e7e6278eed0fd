"""Storages and strided views of them, as torch keeps tensors; bytes stay in the mapped file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstream_convert.errors import ConvertError

_MAX_RANK = 8
_CHUNK = 1 << 20  # elements looked at at a time

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ElementType:
    name: str  # as torch spells it
    numpy: str  # how its bytes are read; little-endian
    is_float: bool = False

    @property
    def bytes(self) -> int:
        return np.dtype(self.numpy).itemsize


ELEMENT_TYPES = {
    "FloatStorage": ElementType("float32", "<f4", True),
    "HalfStorage": ElementType("float16", "<f2", True),
    "BFloat16Storage": ElementType("bfloat16", "<u2", True),
    "DoubleStorage": ElementType("float64", "<f8"),
    "LongStorage": ElementType("int64", "<i8"),
    "IntStorage": ElementType("int32", "<i4"),
    "ShortStorage": ElementType("int16", "<i2"),
    "CharStorage": ElementType("int8", "<i1"),
    "ByteStorage": ElementType("uint8", "<u1"),
    "BoolStorage": ElementType("bool", "<u1"),
}


@dataclass(slots=True, eq=False)
class Storage:
    """`numel` elements. The legacy container names a storage before its bytes: they come later."""

    element: ElementType
    numel: int
    data: memoryview | None = None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A view: element (i, j, ...) is storage[offset + i * stride[0] + j * stride[1] + ...]."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @staticmethod
    def view(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        """From a file: checked; every element lies inside the storage, and no view is larger."""
        if not isinstance(storage, Storage):
            raise ConvertError("a tensor is built on something that is no storage")
        if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride):
            raise ConvertError("a tensor's size and stride must be tuples of one length")
        if len(size) > _MAX_RANK:
            raise ConvertError(f"a tensor has {len(size)} dimensions, more than {_MAX_RANK}")
        if not (_is_count(offset) and all(map(_is_count, size)) and all(map(_is_count, stride))):
            raise ConvertError(
                "a tensor's offset, sizes and strides must be integers from 0 to 2^48"
            )
        numel = 1
        for count in size:
            numel *= count
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if numel > 0 and last >= storage.numel:
            raise ConvertError(
                f"a tensor reaches element {last} of a storage that has {storage.numel}"
            )
        if numel > storage.numel:
            raise ConvertError(
                f"a tensor repeats elements: {numel} of a storage that has {storage.numel}"
            )
        return Tensor(storage, offset, size, stride)

    @property
    def numel(self) -> int:
        numel = 1
        for count in self.size:
            numel *= count
        return numel

    def float32(self, name: str) -> FloatArray:
        """The values, halves widened; ConvertError, naming the tensor, if one is not finite."""
        element = self.storage.element
        if not element.is_float:
            raise ConvertError(
                f"tensor {name} holds {element.name}; parameters are float32, float16 or bfloat16"
            )
        if self.storage.data is None:
            raise ConvertError(f"tensor {name}: the file does not hold its storage")
        if self.numel == 0:
            return np.zeros(self.size, np.float32)
        flat = np.frombuffer(self.storage.data, element.numpy)[self.offset :]
        # The step of a dimension of one element is never taken, and may be any number.
        steps = [
            step * element.bytes if n > 1 else 0
            for n, step in zip(self.size, self.stride, strict=True)
        ]
        raw = np.lib.stride_tricks.as_strided(flat, self.size, steps, writeable=False)
        if element.name == "bfloat16":
            # The upper half of a float32.
            values = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        else:
            values = np.ascontiguousarray(raw, np.float32)
        check_finite(values, name)
        return values.reshape(self.size)


def check_finite(values: FloatArray, name: str) -> None:
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        if not np.isfinite(flat[start : start + _CHUNK]).all():
            raise ConvertError(f"tensor {name} holds a value that is not finite")
