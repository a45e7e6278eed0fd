"""Writes Skipstream model files: .safetensors with float32 tensors and metadata, docs/models.md."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skipstream_files import replaced

from skipstream_convert.errors import ConvertError
from skipstream_convert.network import Shape
from skipstream_convert.tensors import FloatArray

_MAX_HEADER = 16 << 20  # what the server reads
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """Its values are made when they are written, so that one tensor is in memory at a time."""

    shape: Shape
    values: Callable[[], FloatArray]

    @property
    def numel(self) -> int:
        numel = 1
        for count in self.shape:
            numel *= count
        return numel


def write_model_file(
    path: Path, tensors: Mapping[str, OutputTensor], metadata: Mapping[str, str], *, force: bool
) -> None:
    """After an error `path` is as it was; unless `force`, it must not exist."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for name in sorted(tensors):
        end = offset + 4 * tensors[name].numel
        header[name] = {
            "dtype": "F32",
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > _MAX_HEADER:
        raise ConvertError(
            f"the header would have {len(text)} bytes; the server reads {_MAX_HEADER}"
        )

    try:
        with replaced(path, must_be_new=not force) as out:
            out.write(struct.pack("<Q", len(text)))
            out.write(text)
            for name in sorted(tensors):
                values = tensors[name].values()
                if values.shape != tensors[name].shape:
                    raise ConvertError(f"tensor {name} came out with shape {values.shape}")
                out.write(values.astype("<f4", order="C", copy=False).data)
    except FileExistsError:
        raise ConvertError(f"{path} exists; --force replaces it") from None
