"""A network small enough that everything around it decides how fast a request is."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from harness import ROOT

_FIXTURE = ROOT / "tests" / "data" / "reference" / "ddpmpp-edm.safetensors"


def write_small_model(path: Path) -> None:
    """Makes a model file of a parity fixture: 16x16 RGB, 10 classes, 1.8 M random parameters."""
    data = _FIXTURE.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    metadata = header.pop("__metadata__")
    kept: dict[str, object] = {
        "__metadata__": {key: metadata[key] for key in ("preconditioning", "config")}
    }
    body = b""
    for name, tensor in header.items():
        if name.startswith("param."):
            start, end = tensor["data_offsets"]
            offsets = [len(body), len(body) + end - start]
            kept[name.removeprefix("param.")] = {**tensor, "data_offsets": offsets}
            body += tensors[start:end]
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
