"""Opens a checkpoint file, identifies its kind, reads and converts it."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skipstream_convert.consistency import convert_consistency
from skipstream_convert.conversion import Conversion, Options, check_growth
from skipstream_convert.edm import convert_edm, holds_networks
from skipstream_convert.errors import ConvertError
from skipstream_convert.pickle_machine import Budget
from skipstream_convert.state_dict import (
    CONSISTENCY_LANDMARK,
    EDM_LANDMARK,
    convert_state_dict,
    has_landmark,
)
from skipstream_convert.torch_files import LEGACY_MAGIC, read_legacy, read_pickle, read_zip
from skipstream_convert.zip_archive import MAGIC as ZIP_MAGIC

FORMATS = ("auto", "edm", "consistency", "state_dict")

_PICKLE_PROTO = 0x80
_HASH_CHUNK = 1 << 22


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a regular file."""
    # Not blocking: opening a pipe nobody writes to must not hang.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise ConvertError("not a regular file")
        if info.st_size == 0:
            raise ConvertError("the file is empty")
        # Never closed here: tensors are views of it, and it goes with the last of them.
        yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def sha256(data: memoryview) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(data), _HASH_CHUNK):
        digest.update(data[start : start + _HASH_CHUNK])
    return digest.hexdigest()


def convert(data: memoryview, format_name: str, options: Options) -> Conversion:
    """ConvertError, whatever the bytes are, unless they are a checkpoint that fits."""
    root = _read(data)
    kind = _kind(root) if format_name == "auto" else format_name
    if kind == "edm":
        conversion = convert_edm(root, options)
    elif kind == "consistency":
        conversion = convert_consistency(root, options)
    else:
        conversion = convert_state_dict(root, options)
    check_growth(conversion.tensors, len(data))
    return conversion


def _read(data: memoryview) -> Any:
    budget = Budget.for_file(len(data))
    if data[: len(ZIP_MAGIC)] == ZIP_MAGIC:
        return read_zip(data, budget)
    if data[: len(LEGACY_MAGIC)] == LEGACY_MAGIC:
        return read_legacy(data, budget)
    if data[0] == _PICKLE_PROTO:
        return read_pickle(data, budget)
    raise ConvertError("neither a pickle (of protocol 2 to 5) nor a file of torch.save")


def _kind(root: Any) -> str:
    if holds_networks(root):
        return "edm"
    if has_landmark(root, CONSISTENCY_LANDMARK):
        return "consistency"
    if has_landmark(root, EDM_LANDMARK):
        return "state_dict"
    raise ConvertError(
        "holds no network that is known: neither an EDM snapshot, nor tensors named like "
        f"...{EDM_LANDMARK} (EDM, DMD2) or ...{CONSISTENCY_LANDMARK} (consistency models)"
    )
