"""The two containers of torch.save, and the one storage that a plain pickle carries as bytes.

zip     NAME/data.pkl, whose persistent ids name the storages NAME/data/KEY
legacy  five pickles (magic number, protocol version, machine, the object, list of storage keys),
        then per key its number of elements (int64) and their bytes
"""

from __future__ import annotations

import struct
from typing import Any

from skipstream_convert.errors import ConvertError, quoted
from skipstream_convert.globals_table import STORAGE_GLOBALS, checkpoint_globals
from skipstream_convert.pickle_machine import Budget, Globals, PickleMachine
from skipstream_convert.tensors import ElementType, Storage
from skipstream_convert.zip_archive import read_entries

LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the number 0x1950a86a20f9469cfc6c

_LEGACY_PROTOCOL = 1001
_MAX_KEY = 128


class _Storages:
    """Storages by key, made when a persistent id names them first."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def find(self, identity: Any) -> Storage:
        """('storage', type, key, location, numel), in the legacy container then a view or None."""
        if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
            raise ConvertError("refuses a persistent id that names no storage")
        element, key, location, numel = identity[1:5]
        if not isinstance(element, ElementType):
            raise ConvertError("a storage has no type")
        if type(key) is not str or not key or len(key) > _MAX_KEY or type(location) is not str:
            raise ConvertError("a storage has no key or no location")
        if type(numel) is not int or not 0 <= numel < 1 << 48:
            raise ConvertError(f"storage {quoted(key)} has no number of elements")
        if len(identity) == 6 and identity[5] is not None:
            raise ConvertError(
                f"storage {quoted(key)} is a view; torch has not written any since 0.4"
            )
        storage = self.by_key.get(key)
        if storage is None:
            storage = self.by_key[key] = Storage(element, numel)
            self.attach(key, storage)
        elif storage.element is not element or storage.numel != numel:
            raise ConvertError(f"storage {quoted(key)} is described in two ways")
        return storage

    def attach(self, key: str, storage: Storage) -> None:
        """Finds the bytes of a new storage, where they can be found by now."""


class _ZipStorages(_Storages):
    def __init__(self, root: str, entries: dict[str, memoryview]) -> None:
        super().__init__()
        self._folder = f"{root}/data/"
        self._entries = entries

    def attach(self, key: str, storage: Storage) -> None:
        data = self._entries.get(self._folder + key)
        if data is None:
            raise ConvertError(f"zip: entry {quoted(self._folder + key)} is missing")
        if len(data) != storage.numel * storage.element.bytes:
            raise ConvertError(
                f"zip: entry {quoted(self._folder + key)} has {len(data)} bytes, not "
                f"{storage.numel} elements of {storage.element.bytes}"
            )
        storage.data = data


def read_pickle(data: memoryview, budget: Budget) -> Any:
    """A plain pickle, the whole of `data`; tensors carry their storages as bytes."""

    def load_storage_bytes(arguments: tuple[Any, ...]) -> Storage:
        if len(arguments) != 1 or not isinstance(arguments[0], bytes | memoryview):
            raise ConvertError("needs bytes")
        storage = read_legacy(memoryview(arguments[0]), budget, STORAGE_GLOBALS)
        if not isinstance(storage, Storage):
            raise ConvertError("holds something else than a storage")
        return storage

    machine = PickleMachine(data, 0, checkpoint_globals(load_storage_bytes), budget)
    result = machine.run()
    if machine.position != len(data):
        raise ConvertError(f"{len(data) - machine.position} bytes after the end of the pickle")
    return result


def read_zip(data: memoryview, budget: Budget) -> Any:
    entries = read_entries(data)
    roots = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ConvertError(
            f"zip: {len(roots)} entries data.pkl in a folder, where torch writes one"
        )
    root = roots[0]
    if any(name.startswith(f"{root}/code/") for name in entries):
        raise ConvertError("zip: this is a TorchScript program, not a checkpoint")
    byte_order = bytes(entries.get(f"{root}/byteorder", memoryview(b"little"))[:16])
    if byte_order != b"little":
        raise ConvertError("zip: the tensors are big-endian; only little-endian ones are read")
    pickle = entries[f"{root}/data.pkl"]
    storages = _ZipStorages(root, entries)
    machine = PickleMachine(pickle, 0, checkpoint_globals(None), budget, storages.find)
    result = machine.run()
    if machine.position != len(pickle):
        raise ConvertError("zip: data.pkl goes on after its end")
    return result


def read_legacy(data: memoryview, budget: Budget, known: Globals | None = None) -> Any:
    """`known`: the globals of the object's pickle; none: those of a checkpoint."""
    storages = _Storages()
    position = 0

    def next_pickle(globals_: Globals, with_storages: bool = False) -> Any:
        nonlocal position
        find = storages.find if with_storages else None
        machine = PickleMachine(data, position, globals_, budget, find)
        value = machine.run()
        position = machine.position
        return value

    if data[: len(LEGACY_MAGIC)] != LEGACY_MAGIC:
        raise ConvertError("does not begin with torch's magic number")
    position = len(LEGACY_MAGIC)
    if next_pickle({}) != _LEGACY_PROTOCOL:
        raise ConvertError(f"torch file: a protocol version that is not {_LEGACY_PROTOCOL}")
    machine_info = next_pickle({})
    if type(machine_info) is not dict or machine_info.get("little_endian") is not True:
        raise ConvertError("torch file: only little-endian ones are read")
    result = next_pickle(checkpoint_globals(None) if known is None else known, with_storages=True)
    keys = next_pickle({})
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ConvertError("torch file: the list of storages is not one of names")
    position = _read_storages(data, position, storages.by_key, keys)
    if position != len(data):
        raise ConvertError(f"torch file: {len(data) - position} bytes after the last storage")
    missing = [key for key, storage in storages.by_key.items() if storage.data is None]
    if missing:
        raise ConvertError(f"torch file: storage {quoted(missing[0])} has no bytes")
    return result


def _read_storages(
    data: memoryview, position: int, storages: dict[str, Storage], keys: list[str]
) -> int:
    for key in keys:
        storage = storages.get(key)
        if storage is None or storage.data is not None:
            raise ConvertError(f"torch file: storage {quoted(key)} is not expected (again)")
        if position + 8 > len(data):
            raise ConvertError("torch file: cut off before a storage")
        (numel,) = struct.unpack_from("<q", data, position)
        if numel != storage.numel:
            raise ConvertError(
                f"torch file: storage {quoted(key)} has {numel} elements, not {storage.numel}"
            )
        begin = position + 8
        position = begin + numel * storage.element.bytes
        if position > len(data):
            raise ConvertError(f"torch file: cut off in storage {quoted(key)}")
        storage.data = data[begin:position]
    return position
