"""JSON and arrays as files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from skipstream_files import write


def write_json(file: Path, value: Any) -> None:
    """Indented, so that changes of committed results can be read; NaN is an error."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write(file, f"{text}\n".encode())


def write_array(file: Path, values: np.ndarray) -> None:
    """Writes as .npy."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    write(file, buffer.getvalue())
