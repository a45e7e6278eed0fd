"""Checkpoint files of every kind, written without the code that publishes them and without torch.

Pickles come from Python's own pickler, taught to write the names of things that are not installed;
shares no code with the reader under test.
"""

from __future__ import annotations

import io
import itertools
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "tests" / "data" / "reference"

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
SOURCE = "raise SystemExit('the source text of a checkpoint was executed')\n"


# ---- pickles ----


@dataclass(frozen=True)
class Name:
    """A global, by name."""

    module: str
    name: str


@dataclass(eq=False)
class Call:
    """function(*args), then BUILD with the state if there is one."""

    function: Name
    args: tuple[Any, ...]
    state: Any = None


@dataclass(eq=False)
class New:
    """cls.__new__(cls), then BUILD with the state if there is one."""

    cls: Name
    state: Any = None


@dataclass(eq=False)
class PersistentId:
    identity: Any


# The pure-Python one can be taught; typeshed does not list it.
PythonPickler: Any = vars(pickle)["_Pickler"]


class Writer(PythonPickler):  # type: ignore[misc]
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Name | Call | New) and self.memo.get(id(obj)) is not None:
            self.write(self.get(self.memo[id(obj)][0]))
        elif isinstance(obj, Name):
            if self.proto >= 4:
                super().save(obj.module)
                super().save(obj.name)
                self.write(pickle.STACK_GLOBAL)
            else:
                self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
            self.memoize(obj)
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
            self.memoize(obj)
            self._build(obj.state)
        elif isinstance(obj, New):
            self.save(obj.cls)
            self.save(())
            self.write(pickle.NEWOBJ)
            self.memoize(obj)
            self._build(obj.state)
        elif isinstance(obj, PersistentId):
            self.save(obj.identity)
            self.write(pickle.BINPERSID)
        else:
            super().save(obj, save_persistent_id)

    def _build(self, state: Any) -> None:
        if state is not None:
            self.save(state)
            self.write(pickle.BUILD)


def dumps(value: Any, protocol: int = 4) -> bytes:
    out = io.BytesIO()
    Writer(out, protocol).dump(value)
    return out.getvalue()


# ---- tensors ----

STORAGE_TYPES = {"<f4": "Float", "<f2": "Half", "<f8": "Double", "<i8": "Long", "<i4": "Int"}


@dataclass(eq=False)
class Storage:
    """Elements; `bfloat16` ones are the upper halves of float32, as uint16."""

    values: Array
    bfloat16: bool = False
    key: str = field(default_factory=map(str, itertools.count(1000)).__next__)

    @property
    def type_name(self) -> Name:
        kind = "BFloat16" if self.bfloat16 else STORAGE_TYPES[self.values.dtype.str]
        return Name("torch", f"{kind}Storage")

    def identity(self, *more: Any) -> PersistentId:
        return PersistentId(("storage", self.type_name, self.key, "cpu", self.values.size, *more))


@dataclass(eq=False)
class View:
    """A strided view of a storage, in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def whole(values: Array, bfloat16: bool = False) -> View:
    """A contiguous tensor with a separate storage."""
    values = np.array(values, order="C")
    stride = tuple(step // values.itemsize for step in values.strides)
    return View(Storage(values.reshape(-1), bfloat16), 0, values.shape, stride)


def bfloat16(values: Array) -> View:
    halves = (values.astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    return whole(halves, bfloat16=True)


def rebuild(view: View, storage: Any) -> Call:
    arguments = (storage, view.offset, view.size, view.stride, False, ordered_dict())
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)


def parameter(tensor: Call) -> Call:
    return Call(Name("torch._utils", "_rebuild_parameter"), (tensor, True, ordered_dict()))


def ordered_dict() -> Call:
    return Call(Name("collections", "OrderedDict"), ())


# ---- torch.save ----


def legacy_file(root: Any, storages: list[Storage], *, pid_view: bool = True) -> bytes:
    """The form torch.save wrote before 1.6, and still does for one storage inside a pickle."""
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    out = dumps(LEGACY_MAGIC, 2) + dumps(1001, 2) + dumps(system, 2)
    out += dumps(root, 2) + dumps([storage.key for storage in storages], 2)
    for storage in storages:
        out += struct.pack("<q", storage.values.size) + storage.values.tobytes()
    return out


def zip_file(
    root: Any, storages: list[Storage], *, name: str = "archive", zip64: bool = False
) -> bytes:
    """The form torch.save writes since 1.6."""
    members = {f"{name}/data.pkl": dumps(root, 2), f"{name}/byteorder": b"little"}
    members |= {f"{name}/data/{s.key}": s.values.tobytes() for s in storages}
    members[f"{name}/version"] = b"3\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for member, data in members.items():
            with archive.open(member, "w", force_zip64=zip64) as file:
                file.write(data)
    return out.getvalue()


def storage_bytes(storage: Storage) -> Call:
    """A storage as a plain pickle carries it."""
    data = legacy_file(storage.identity(None), [storage])
    return Call(Name("torch.storage", "_load_from_bytes"), (data,))


def state_dict(tensors: Mapping[str, Array | View]) -> tuple[OrderedDict[str, Call], list[Storage]]:
    """Names to tensors on persistent ids, and the storages."""
    result: OrderedDict[str, Call] = OrderedDict()
    storages: list[Storage] = []
    for name, tensor in tensors.items():
        view = tensor if isinstance(tensor, View) else whole(tensor)
        if view.storage not in storages:
            storages.append(view.storage)
        result[name] = rebuild(view, view.storage.identity())
    return result, storages


def torch_zip(tensors: Mapping[str, Array | View]) -> bytes:
    return zip_file(*state_dict(tensors))


def torch_legacy(tensors: Mapping[str, Array | View]) -> bytes:
    result: dict[str, Call] = {}
    storages: list[Storage] = []
    for name, tensor in tensors.items():
        view = tensor if isinstance(tensor, View) else whole(tensor)
        if view.storage not in storages:
            storages.append(view.storage)
        result[name] = rebuild(view, view.storage.identity(None))
    return legacy_file(result, storages)


# ---- EDM snapshots ----


def persistent(class_name: str, state: Any, source: str = SOURCE) -> Call:
    meta = {
        "type": "class",
        "version": 6,
        "module_src": source,
        "class_name": class_name,
        "state": state,
    }
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


BUFFERS = ("resample_filter", "freqs", "u")


class ModuleTree:
    """The tree of modules that dotted names describe, as torch keeps it."""

    def __init__(self, tensors: Mapping[str, Array | View]) -> None:
        self._tensors = tensors
        self._storages: dict[Storage, Call] = {}

    def state(self, prefix: str = "") -> dict[str, Any]:
        own = {}
        children: dict[str, None] = {}
        for name in self._tensors:
            if name.startswith(prefix):
                head, dot, _ = name.removeprefix(prefix).partition(".")
                if dot:
                    children[head] = None
                else:
                    own[head] = self._tensor(self._tensors[name], buffer=head in BUFFERS)
        return {
            "training": False,
            "_parameters": OrderedDict((k, v) for k, v in own.items() if k not in BUFFERS),
            "_buffers": OrderedDict((k, v) for k, v in own.items() if k in BUFFERS),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": OrderedDict(),
            "_modules": OrderedDict((k, self._module(f"{prefix}{k}.")) for k in children)
            | {"absent": None},
            "_init_args": (),
            "_init_kwargs": {"mode": "xavier_uniform"},
        }

    def _module(self, prefix: str) -> Call | New:
        layer = prefix.rstrip(".").rsplit(".", 1)[-1]
        if layer in ("enc", "dec"):
            return New(Name("torch.nn.modules.container", "ModuleDict"), self.state(prefix))
        return persistent("UNetBlock" if "block" in layer else "Conv2d", self.state(prefix))

    def _tensor(self, tensor: Array | View, *, buffer: bool) -> Call:
        view = tensor if isinstance(tensor, View) else whole(tensor)
        if view.storage not in self._storages:
            self._storages[view.storage] = storage_bytes(view.storage)
        built = rebuild(view, self._storages[view.storage])
        return built if buffer else parameter(built)


def edm_network(
    preconditioning: str,
    tensors: Mapping[str, Array | View],
    config: Mapping[str, Any],
    **state: Any,
) -> Call:
    own = ModuleTree(tensors).state()
    own |= {"_init_args": (), "_init_kwargs": dict(config), "sigma_max": float("inf"), **state}
    return persistent(preconditioning, own)


def edm_pickle(
    preconditioning: str,
    tensors: Mapping[str, Array | View],
    config: Mapping[str, Any],
    protocol: int = 4,
    **state: Any,
) -> bytes:
    """A snapshot as the training loop of EDM writes it."""
    snapshot = {
        "ema": edm_network(preconditioning, tensors, config, **state),
        "loss_fn": persistent("EDMLoss", {"P_mean": -1.2, "P_std": 1.2, "sigma_data": 0.5}),
        "augment_pipe": persistent("AugmentPipe", {"p": 0.12, "xflip": float("1e8")}),
        "dataset_kwargs": {"path": "cifar10.zip", "use_labels": True, "max_size": 50000},
    }
    return dumps(snapshot, protocol)


# ---- fixtures ----


@dataclass(frozen=True)
class Fixture:
    """A parity fixture: what the published networks really call and shape their parameters."""

    preconditioning: str
    config: dict[str, Any]
    tensors: dict[str, Array]

    @property
    def parameters(self) -> dict[str, Array]:
        return {k: v for k, v in self.tensors.items() if not k.endswith("resample_filter")}


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Array]]:
    """Metadata and tensors; float32 ones only."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "F32":
            tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return metadata, tensors


def fixture(name: str) -> Fixture:
    metadata, tensors = read_safetensors(FIXTURES / f"{name}.safetensors")
    parameters = {k.removeprefix("param."): v for k, v in tensors.items() if k.startswith("param.")}
    return Fixture(metadata["preconditioning"], json.loads(metadata["config"]), parameters)


def small_fixture(name: str = "ddpmpp-edm") -> Fixture:
    """The same network, every width divided by 8: a file of some tens of kilobytes."""
    big = fixture(name)
    tensors = {
        k: v[tuple(slice(n // 8 if n >= 32 else n) for n in v.shape)]
        for k, v in big.tensors.items()
    }
    width = big.config["model_channels"] // 8
    return Fixture(big.preconditioning, big.config | {"model_channels": width}, tensors)
