"""Model files that are corrupt, cut short or made to hurt."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Header = dict[str, Any]


def parts(file: bytes) -> tuple[Header, bytes]:
    size = struct.unpack("<Q", file[:8])[0]
    return json.loads(file[8 : 8 + size]), file[8 + size :]


def joined(header: Header | str | bytes, data: bytes) -> bytes:
    if isinstance(header, dict):
        header = json.dumps(header)
    if isinstance(header, str):
        header = header.encode()
    return struct.pack("<Q", len(header)) + header + data


def edited(good: bytes, edit: Callable[[Header], None]) -> bytes:
    header, data = parts(good)
    edit(header)
    return joined(header, data)


def with_metadata(good: bytes, **values: str | None) -> bytes:
    def edit(header: Header) -> None:
        for key, value in values.items():
            if value is None:
                del header["__metadata__"][key]
            else:
                header["__metadata__"][key] = value

    return edited(good, edit)


def with_config(good: bytes, **values: Any) -> bytes:
    config = json.loads(parts(good)[0]["__metadata__"]["config"])
    return with_metadata(good, config=json.dumps(config | values))


class GoodModel:
    """A valid file, taken apart."""

    def __init__(self, file: bytes) -> None:
        self.good = file
        self.header, self.data = parts(file)
        names = [name for name in self.header if name != "__metadata__"]
        self.first, self.last = names[0], names[-1]
        self.entry = self.header[self.first]
        self.begin, self.end = self.entry["data_offsets"]

    def replaced(self, name: str, **fields: Any) -> bytes:
        return edited(self.good, lambda header: header[name].update(fields))

    def without(self, name: str) -> bytes:
        return edited(self.good, lambda header: header.pop(name))


HUGE = 2**62

# By name: how it is made from a good file. None of them is a model.
HOSTILE_FILES: dict[str, Callable[[GoodModel], bytes]] = {
    "empty": lambda m: b"",
    "one-byte": lambda m: b"\x01",
    "only-a-length": lambda m: m.good[:8],
    "cut-in-header": lambda m: m.good[:5000],
    "cut-in-data": lambda m: m.good[: len(m.good) // 2],
    "one-byte-short": lambda m: m.good[:-1],
    "one-byte-long": lambda m: m.good + b"\x00",
    "length-of-everything": lambda m: b"\xff" * 8 + m.good[8:],
    "length-overflows": lambda m: struct.pack("<Q", 2**64 - 8) + m.good[8:],
    "length-beyond-file": lambda m: struct.pack("<Q", len(m.good)) + m.good[8:],
    "length-of-gigabytes": lambda m: struct.pack("<Q", 2**34) + m.good[8:],
    "zero-length-header": lambda m: struct.pack("<Q", 0) + m.data,
    "random-bytes": lambda m: bytes((i * 7919 + i // 251) % 256 for i in range(4096)),
    "pickle": lambda m: b"PK\x03\x04" + b"archive/data.pkl" * 100,
    "header-not-json": lambda m: joined("not json at all", m.data),
    "header-a-list": lambda m: joined("[1, 2, 3]", m.data),
    "header-deeply-nested": lambda m: joined("[" * 200_000, m.data),
    "header-deep-objects": lambda m: joined('{"a":' * 100_000, m.data),
    "header-not-utf8": lambda m: joined(b'{"\xff\xfe": 1}', m.data),
    "header-with-nul": lambda m: joined(b'{"a\x00b": {}}', m.data),
    "duplicate-key": lambda m: joined(
        json.dumps(m.header)[:-1] + f', "{m.first}": {json.dumps(m.entry)}}}', m.data
    ),
    "tensor-not-an-object": lambda m: edited(m.good, lambda h: h.update({m.first: 5})),
    "tensor-without-shape": lambda m: edited(m.good, lambda h: h[m.first].pop("shape")),
    "missing-tensor": lambda m: m.without(m.last),
    "missing-tensor-and-data": lambda m: joined(
        {k: v for k, v in m.header.items() if k != m.last},
        m.data[: m.header[m.last]["data_offsets"][0]],
    ),
    "unused-tensor": lambda m: edited(
        joined(m.header, m.data + bytes(4)),
        lambda h: h.update(
            {
                "extra": {
                    "dtype": "F32",
                    "shape": [1],
                    "data_offsets": [len(m.data), len(m.data) + 4],
                }
            }
        ),
    ),
    "wrong-shape": lambda m: m.replaced(m.first, shape=[1, *m.entry["shape"]]),
    "negative-shape": lambda m: m.replaced(m.first, shape=[-1]),
    "huge-shape": lambda m: m.replaced(m.first, shape=[HUGE]),
    "shape-overflows": lambda m: m.replaced(m.first, shape=[2**32, 2**32, 0]),
    "shape-wraps-to-right-size": lambda m: m.replaced(m.first, shape=[2**62, 4, *m.entry["shape"]]),
    "fractional-shape": lambda m: m.replaced(m.first, shape=[1.5]),
    "text-shape": lambda m: m.replaced(m.first, shape="64"),
    "thousand-dimensions": lambda m: m.replaced(m.first, shape=[1] * 100_000 + m.entry["shape"]),
    "nan-weight": lambda m: joined(m.header, struct.pack("<f", float("nan")) + m.data[4:]),
    "infinite-weight": lambda m: joined(m.header, m.data[:-4] + struct.pack("<f", float("inf"))),
    "unknown-dtype": lambda m: m.replaced(m.first, dtype="F33"),
    "integer-dtype": lambda m: m.replaced(m.first, dtype="I32"),
    "number-dtype": lambda m: m.replaced(m.first, dtype=32),
    "offsets-beyond-file": lambda m: m.replaced(
        m.first, data_offsets=[HUGE, HUGE + m.end - m.begin]
    ),
    "offsets-negative": lambda m: m.replaced(m.first, data_offsets=[-256, 0]),
    "offsets-backwards": lambda m: m.replaced(m.first, data_offsets=[m.end, m.begin]),
    "offsets-overlap": lambda m: m.replaced(m.last, data_offsets=m.entry["data_offsets"]),
    "offsets-one": lambda m: m.replaced(m.first, data_offsets=[0]),
    "offsets-fractional": lambda m: m.replaced(m.first, data_offsets=[0.5, 256.5]),
    "no-metadata": lambda m: m.without("__metadata__"),
    "metadata-a-number": lambda m: edited(m.good, lambda h: h.update({"__metadata__": 7})),
    "metadata-not-text": lambda m: edited(
        m.good, lambda h: h["__metadata__"].update({"config": {}})
    ),
    "no-config": lambda m: with_metadata(m.good, config=None),
    "config-not-json": lambda m: with_metadata(m.good, config="{"),
    "config-a-list": lambda m: with_metadata(m.good, config="[]"),
    "config-deeply-nested": lambda m: with_metadata(m.good, config="[" * 100_000),
    "no-preconditioning": lambda m: with_metadata(m.good, preconditioning=None),
    "unknown-preconditioning": lambda m: with_metadata(m.good, preconditioning="XYZPrecond"),
    "unknown-network": lambda m: with_config(m.good, model_type="EvilUNet"),
    "no-resolution": lambda m: with_config(m.good, img_resolution=0),
    "negative-channels": lambda m: with_config(m.good, model_channels=-32),
    "gigantic-channels": lambda m: with_config(m.good, model_channels=2**30),
    "gigantic-resolution": lambda m: with_config(m.good, img_resolution=2**30),
    "million-blocks": lambda m: with_config(m.good, num_blocks=1_000_000),
    "million-levels": lambda m: with_config(m.good, channel_mult=[1] * 1_000_000),
    "gigantic-multiplier": lambda m: with_config(m.good, channel_mult=[1, 2, 2**31 - 1]),
    "no-levels": lambda m: with_config(m.good, channel_mult=[]),
    "text-for-number": lambda m: with_config(m.good, num_blocks="2"),
    "infinite-number": lambda m: with_metadata(m.good, config='{"img_resolution": 1e999}'),
    "two-billion-classes": lambda m: with_config(m.good, label_dim=2**31 - 1),
    "classes-not-a-list": lambda m: with_metadata(m.good, classes='{"a": 1}'),
    "too-few-classes": lambda m: with_metadata(m.good, classes='["cat"]'),
    "classes-not-text": lambda m: with_metadata(m.good, classes=json.dumps(list(range(64)))),
    "presets-not-json": lambda m: with_metadata(m.good, skip_tuning="{{{"),
}


@contextlib.contextmanager
def hostile_file(name: str, model: Path, folder: Path) -> Iterator[str]:
    """One of HOSTILE_FILES in `folder`, for as long as it is needed; yields its file name."""
    path = folder / f"bad-{name}.safetensors"
    path.write_bytes(HOSTILE_FILES[name](GoodModel(model.read_bytes())))
    try:
        yield path.name
    finally:
        path.unlink()
