"""Writing files so that they are whole or not there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np


def write_atomically(file: Path, data: bytes) -> None:
    """Writes beside `file`, then renames; folders are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def write_json(file: Path, value: Any) -> None:
    """Indented, so that changes of committed results can be read; NaN is an error."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(file, f"{text}\n".encode())


def write_array(file: Path, values: np.ndarray) -> None:
    """As .npy."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    write_atomically(file, buffer.getvalue())
