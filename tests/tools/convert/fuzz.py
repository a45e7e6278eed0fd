"""python fuzz.py SECONDS SEED [FILE]: feeds the converter mutations of valid checkpoints and random
pickle programs for that long, with MEMORY_MIB of memory beyond what the program itself takes.

Whatever the bytes are, a conversion gives tensors or the tool's own error, in bounded memory and
time. Anything else ends the program with the exception; the input is then in FILE (default
fuzz-failure.bin) and SEED repeats the run. Prints one JSON object: how many inputs of each kind
converted and how many were refused.
"""

from __future__ import annotations

import io
import json
import pickletools
import random
import struct
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from checkpoints import edm_pickle, small_fixture, torch_legacy, torch_zip
from limited import limit_memory
from skipstream_convert.checkpoint import convert
from skipstream_convert.conversion import Options
from skipstream_convert.errors import ConvertError

MEMORY_MIB = 96
SECONDS_PER_INPUT = 10.0

_EXTREMES = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 62,
    (1 << 64) - 1,
)
_NAMES = (
    b"torch._utils\n_rebuild_tensor_v2\n",
    b"torch._utils\n_rebuild_parameter\n",
    b"torch.storage\n_load_from_bytes\n",
    b"torch\nFloatStorage\n",
    b"torch\nSize\n",
    b"collections\nOrderedDict\n",
    b"numpy.core.multiarray\nscalar\n",
    b"numpy.core.multiarray\n_reconstruct\n",
    b"numpy.core.numeric\n_frombuffer\n",
    b"numpy\ndtype\n",
    b"numpy\nndarray\n",
    b"_codecs\nencode\n",
    b"builtins\nset\n",
    b"dnnlib.util\nEasyDict\n",
    b"torch.nn.modules.container\nModuleDict\n",
    b"torch_utils.persistence\n_reconstruct_persistent_obj\n",
    b"os\nsystem\n",
)
_TEXTS = (b"ema", b"storage", b"0", b"cpu", b"state", b"type", b"class", b"f8", b"latin1", b"<")

# Operations that build something, so that random programs get far.
_BUILDING = (
    *(bytes([code]) for code in b"(t)\x85\x86\x87Rb\x81}]sue2a\x94\x8f\x90NQ"),
    *(b"h" + bytes([index]) for index in range(4)),
    *(b"K" + bytes([number]) for number in (0, 1, 6)),
    *(b"c" + name for name in _NAMES),
    *(b"\x8c" + bytes([len(text)]) + text for text in _TEXTS),
)


def _sized(opcode: bytes, payload: bytes) -> bytes:
    return opcode + struct.pack("<I", len(payload)) + payload


def _list(items: list[bytes]) -> bytes:
    return b"](" + b"".join(items) + b"e"


# Functions that make something of values of Fuzzer.repetition.
_SUITABLE = {
    b"torch\nSize\n": ("list",),
    b"collections\nOrderedDict\n": ("pairs",),
    b"builtins\nset\n": ("numbers",),
    b"_codecs\nencode\n": ("text", "latin1"),
    b"numpy.core.multiarray\nscalar\n": ("dtype", "bytes"),
    b"numpy.core.numeric\n_frombuffer\n": ("bytes", "dtype", "shape", "text"),
}


class Fuzzer:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        model = small_fixture("ddpmpp-vp")
        self.edm = edm_pickle(model.preconditioning, model.tensors, model.config)
        self.zip = torch_zip(model.tensors)
        self.legacy = torch_legacy(model.tensors)
        with zipfile.ZipFile(io.BytesIO(self.zip)) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.kinds: dict[str, Callable[[], bytes]] = {
            "edm": lambda: self.mutated(self.edm, self.points(self.edm)),
            "zip": lambda: self.mutated(self.zip, self.zip_points),
            "zip-pickle": self.rezipped,
            "legacy": lambda: self.mutated(self.legacy, self.legacy_points),
            "program": self.program,
            "repetition": self.repetition,
        }
        self._points: dict[int, list[int]] = {}
        pickle = self.members["archive/data.pkl"]
        self.legacy_points = list(range(self.legacy.index(b"_rebuild_tensor_v2") + 4000))
        directory = self.zip.index(b"PK\x01\x02")
        self.zip_points = [*range(200), *range(directory, len(self.zip))]
        self.pickle_points = self.points(pickle)

    def points(self, pickle: bytes) -> list[int]:
        """Offsets of the operations of a pickle: a change there means most."""
        found = self._points.get(id(pickle))
        if found is None:
            found = [at for _, _, at in pickletools.genops(pickle) if at is not None]
            self._points[id(pickle)] = found
        return found

    def noise(self, most: int) -> bytes:
        return self.random.randbytes(self.random.randint(1, most))

    def mutated(self, good: bytes, points: list[int]) -> bytes:
        data = bytearray(good)
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 8))):
            near = min(self.random.choice(points), len(data) - 1)
            at = near if self.random.random() < 0.7 else self.random.randrange(len(data))
            at = min(at + self.random.choice((0, 0, 0, 1, 2, 3)), len(data) - 1)
            self.mutate(data, at)
            if len(data) < 2:
                break
        return bytes(data)

    def mutate(self, data: bytearray, at: int) -> None:
        choice = self.random.randrange(9)
        if choice == 0:
            data[at] ^= 1 << self.random.randrange(8)
        elif choice == 1:
            data[at] = self.random.randrange(256)
        elif choice == 2:
            data[at] = ord(self.random.choice(pickletools.opcodes).code)
        elif choice == 3:
            del data[at : at + self.random.randint(1, 16)]
        elif choice == 4:
            data[at:at] = self.noise(16)
        elif choice == 5:
            begin = self.random.randrange(len(data))
            data[at:at] = data[begin : begin + self.random.randint(1, 200)]
        elif choice == 6:
            form = self.random.choice("BHIQ")
            value = self.random.choice(_EXTREMES) % (1 << (8 * struct.calcsize(form)))
            raw = struct.pack(f"<{form}", value)
            data[at : at + len(raw)] = raw
        elif choice == 7:
            data[at:at] = self.operation()
        elif self.random.random() < 0.2:
            del data[at:]

    def rezipped(self) -> bytes:
        """An archive in order, its pickle mutated."""
        members = dict(self.members)
        members["archive/data.pkl"] = self.mutated(
            self.members["archive/data.pkl"], self.pickle_points
        )
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return out.getvalue()

    def program(self) -> bytes:
        protocol = self.random.choice((b"\x80\x02", b"\x80\x04"))
        count = self.random.choice((3, 10, 30, 300))
        return protocol + b"".join(self.operation() for _ in range(count)) + b"."

    def repetition(self) -> bytes:
        """Calls on values out of the memo, the same ones up to thousands of times: what a file can
        have made of few bytes."""
        count = self.random.choice((10, 1000, 30_000))
        values = {
            "text": _sized(b"X", b"x" * self.random.choice((count, 1 << 20))),
            "latin1": b"\x8c\x06latin1",
            "bytes": _sized(b"B", bytes(8 * min(count, 4096))),
            "shape": b"M" + struct.pack("<H", min(count, 4096)) + b"\x85",
            "dtype": b"cnumpy\ndtype\n\x8c\x02f8\x89\x88\x87R",
            "list": _list([b"K\x01"] * count),
            "numbers": _list([b"\x8a\x08" + self.random.randbytes(8) for _ in range(count // 3)]),
            "pairs": _list([b"K" + bytes([i]) + b"N\x86" for i in range(256)]),
        }
        index = {name: i for i, name in enumerate(values)}
        parts = [value + b"q" + bytes([index[name]]) for name, value in values.items()]
        for _ in range(self.random.choice((1, 1, 3))):
            function = self.random.choice(_NAMES)
            arguments = _SUITABLE.get(function)
            if arguments is None or self.random.random() < 0.3:
                arguments = tuple(self.random.choices(list(values), k=self.random.randint(1, 4)))
            got = b"".join(b"h" + bytes([index[name]]) for name in arguments)
            parts.append(b"c" + function + b"q\x20(" + got + b"tq\x21")
            parts.append(b"h\x20h\x21R" * self.random.choice((1, 100, 15_000)))
        return b"\x80\x04(" + b"".join(parts) + b"t."

    def operation(self) -> bytes:
        """Any opcode with an argument of its form; those that build things more often."""
        if self.random.random() < 0.5:
            return self.random.choice(_BUILDING)
        info = self.random.choice(pickletools.opcodes)
        raw = info.code.encode("latin1")
        if info.arg is None:
            return raw
        if info.arg.n >= 0:
            return raw + self.random.randbytes(info.arg.n)
        if info.arg.n == pickletools.UP_TO_NEWLINE:
            return raw + self.random.choice(_NAMES)
        width = {
            pickletools.TAKEN_FROM_ARGUMENT1: 1,
            pickletools.TAKEN_FROM_ARGUMENT8U: 8,
        }.get(info.arg.n, 4)
        payload = self.noise(20)
        length = self.random.choice((len(payload), len(payload), self.random.choice(_EXTREMES)))
        return raw + (length % (1 << (8 * width))).to_bytes(width, "little") + payload


def attempt(data: bytes) -> bool:
    try:
        conversion = convert(memoryview(data), "auto", Options(preconditioning="VPPrecond"))
        for tensor in conversion.tensors.values():
            tensor.values()
    except ConvertError as error:
        if not str(error) or len(str(error)) > 2000:
            raise AssertionError("an error without or with too many words") from error
        return False
    return True


def main() -> None:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    failure = Path(sys.argv[3] if len(sys.argv) > 3 else "fuzz-failure.bin")
    fuzzer = Fuzzer(seed)
    kinds = list(fuzzer.kinds)
    counts: Counter[str] = Counter()
    for data in (fuzzer.edm, fuzzer.zip, fuzzer.legacy):
        assert attempt(data)
    limit_memory(MEMORY_MIB)
    end = time.monotonic() + seconds
    round_number = 0
    while time.monotonic() < end:
        kind = kinds[round_number % len(kinds)]
        data = fuzzer.kinds[kind]()
        start = time.monotonic()
        try:
            converts = bool(data) and attempt(data)
            assert time.monotonic() - start < SECONDS_PER_INPUT, "too slow"
        except BaseException:
            failure.write_bytes(data)
            print(f"round {round_number}, {kind}: the input is in {failure}", file=sys.stderr)
            raise
        counts[f"{kind} {'converted' if converts else 'refused'}"] += 1
        round_number += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
