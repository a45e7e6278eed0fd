"""Files that are made to hurt, by name, each with what the refusal must say."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from checkpoints import (
    Array,
    Call,
    ModuleTree,
    Name,
    New,
    PersistentId,
    Storage,
    View,
    dumps,
    edm_network,
    edm_pickle,
    fixture,
    legacy_file,
    ordered_dict,
    persistent,
    rebuild,
    small_fixture,
    torch_legacy,
    torch_zip,
    zip_file,
)

PROTO4 = b"\x80\x04"
PROTO2 = b"\x80\x02"


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def call(module: str, attribute: str, *args: Any) -> Call:
    return Call(Name(module, attribute), args)


def snapshot(value: Any) -> bytes:
    return dumps({"ema": value})


def good_tensors() -> dict[str, Array]:
    return small_fixture().tensors


def good_edm() -> bytes:
    model = small_fixture()
    return edm_pickle(model.preconditioning, model.tensors, model.config)


def with_view(offset: Any, size: Any, stride: Any) -> bytes:
    """A state_dict of one tensor on a storage of 16 elements."""
    view = View(Storage(np.zeros(16, "<f4")), offset, size, stride)
    return zip_file({"map_layer0.weight": rebuild(view, view.storage.identity())}, [view.storage])


def state_of_a_tensor() -> bytes:
    storage = Storage(np.zeros(4, "<f4"))
    tensor = rebuild(View(storage, 0, (4,), (1,)), storage.identity())
    tensor.state = {"__class__": 7}
    return zip_file({"map_layer0.weight": tensor}, [storage])


def with_identity(*identity: Any) -> bytes:
    storage = Storage(np.zeros(16, "<f4"), key="0")
    tensor = rebuild(View(storage, 0, (4,), (1,)), PersistentId(identity))
    return zip_file({"map_layer0.weight": tensor}, [storage])


FLOAT = Name("torch", "FloatStorage")


def edited_zip(
    edit: Callable[[zipfile.ZipFile], None], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """An archive with whatever `edit` writes beside a data.pkl."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", dumps({}, 2))
        edit(archive)
    return out.getvalue()


def zip_with_directory(change: Callable[[bytearray, int], None]) -> bytes:
    """A good archive; `change` gets it and the offset of its first directory entry."""
    data = bytearray(torch_zip({"map_layer0.weight": np.zeros(16, "<f4")}))
    change(data, data.index(b"PK\x01\x02"))
    return bytes(data)


def put(form: str, relative: int, *values: int) -> Callable[[bytearray, int], None]:
    def change(data: bytearray, at: int) -> None:
        struct.pack_into(form, data, at + relative, *values)

    return change


def many_entries() -> bytes:
    """A directory that says it has four thousand million entries."""
    data = bytearray(edited_zip(lambda archive: None))
    end = data.rindex(b"PK\x05\x06")
    directory = struct.unpack_from("<L", data, end + 16)[0]
    wide = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1 << 32, 1 << 32, end - directory, directory
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    data[end:end] = wide + locator
    struct.pack_into("<2H2L", data, len(data) - 14, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    return bytes(data)


def laughs(depth: int, opcode: bytes = pickle.TUPLE2) -> bytes:
    """x = (x, x), again and again: 2^depth leaves in a few bytes."""
    return PROTO4 + pickle.EMPTY_TUPLE + (pickle.DUP + opcode) * depth


def shared_modules(depth: int) -> bytes:
    module: Any = New(Name("torch.nn.modules.container", "ModuleDict"), {"_modules": {}})
    for _ in range(depth):
        module = New(
            Name("torch.nn.modules.container", "ModuleDict"),
            {"_modules": {"a": module, "b": module}},
        )
    state = ModuleTree({}).state() | {"_modules": {"model": module}}
    return snapshot(persistent("EDMPrecond", state | {"_init_kwargs": small_fixture().config}))


def deep_modules(depth: int) -> bytes:
    """By hand: the pickler would recurse."""
    opening = name("torch.nn.modules.container", "ModuleDict") + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    opening += pickle.EMPTY_DICT + text("_modules") + pickle.EMPTY_DICT + text("a")
    closing = pickle.SETITEM + pickle.SETITEM + pickle.BUILD
    inner = opening * depth + pickle.NONE + closing * depth
    arguments = dumps(small_fixture().config, 2)[2:-1]
    state = (
        pickle.EMPTY_DICT
        + text("_init_args") + pickle.EMPTY_TUPLE + pickle.SETITEM
        + text("_init_kwargs") + arguments + pickle.SETITEM
        + text("_modules") + pickle.EMPTY_DICT + text("m") + inner + pickle.SETITEM
        + pickle.SETITEM
    )  # fmt: skip
    meta = pickle.EMPTY_DICT
    for key, value in (
        ("type", text("class")),
        ("version", pickle.BININT1 + b"\x06"),
        ("class_name", text("EDMPrecond")),
        ("state", state),
    ):
        meta += text(key) + value + pickle.SETITEM
    function = name("torch_utils.persistence", "_reconstruct_persistent_obj")
    return PROTO2 + function + meta + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP


def cyclic_modules() -> bytes:
    module = New(Name("torch.nn.modules.container", "ModuleDict"))
    module.state = {"_modules": {"again": module}}
    state = ModuleTree({}).state() | {"_modules": {"model": module}}
    return snapshot(persistent("EDMPrecond", state | {"_init_kwargs": small_fixture().config}))


def growing_file() -> bytes:
    """Every parameter is a view of one storage of the largest one's size."""
    model = fixture("ddpmpp-edm")
    storage = Storage(np.zeros(max(a.size for a in model.tensors.values()), "<f4"))
    views: dict[str, Array | View] = {}
    for key, array in model.tensors.items():
        if "filter" not in key:
            stride = tuple(step // 4 for step in np.zeros(array.shape, "<f4").strides)
            views[key] = View(storage, 0, array.shape, stride)
    return torch_zip(views)


def nested_storages(depth: int) -> bytes:
    """Bytes of a storage whose pickle asks for the bytes of a storage, and so on."""
    head, tail = legacy_file(None, []).split(dumps(None, 2))
    ask = PROTO2 + name("torch.storage", "_load_from_bytes")
    data = b""
    for _ in range(depth):
        data = ask + pickle.BINBYTES + struct.pack("<I", len(data)) + data + b"\x85R."
        data = head + data + tail
    return snapshot(call("torch.storage", "_load_from_bytes", data))


def repeated(function: bytes, arguments: bytes, count: int) -> bytes:
    """A list of what one function makes of the same arguments: five bytes each."""
    head = PROTO4 + function + b"q\x00" + arguments + b"q\x01" + pickle.POP + pickle.POP
    return head + b"](" + b"h\x00h\x01R" * count + b"e."


def one_list(item: bytes, count: int) -> bytes:
    """A tuple of it."""
    return b"](" + item * count + b"e\x85"


def encoded_text() -> bytes:
    long_text = pickle.BINUNICODE + struct.pack("<I", 1 << 20) + b"x" * (1 << 20)
    return repeated(name("_codecs", "encode"), long_text + text("latin1") + b"\x86", 30_000)


def arrays_of_a_buffer() -> bytes:
    buffer = pickle.BINBYTES + struct.pack("<I", 8 * 4096) + bytes(8 * 4096)
    dtype = name("numpy", "dtype") + text("f8") + b"\x89\x88\x87R"
    arguments = b"(" + buffer + dtype + b"M\x00\x10\x85" + text("C") + b"t"
    return repeated(name("numpy.core.numeric", "_frombuffer"), arguments, 30_000)


def numpy_array(code: str, shape: tuple[int, ...], raw: bytes) -> Call:
    dtype = Call(Name("numpy", "dtype"), (code, False, True), (3, "<", None, None, None, -1, -1, 0))
    ndarray = (Name("numpy", "ndarray"), (0,), b"b")
    state = (1, shape, dtype, False, raw)
    return Call(Name("numpy.core.multiarray", "_reconstruct"), ndarray, state)


def many_arguments_of_one_list(count: int) -> bytes:
    shared = [1] * 256
    config = small_fixture().config | {f"k{i}": shared for i in range(count)}
    # A file of this size may have this number of operations.
    return dumps({"ema": edm_network("EDMPrecond", {}, config), "padding": bytes(8 << 20)})


def one_state_dict_in_many_places(count: int) -> bytes:
    storage = Storage(np.zeros(1 << 21, "<f4"))
    tensor = rebuild(View(storage, 0, (1,), (1,)), storage.identity())
    inner = {f"t{i}": tensor for i in range(count)} | {"map_layer0.weight": tensor}
    return zip_file({f"d{i}": inner for i in range(count)}, [storage])


def many_levels(count: int) -> bytes:
    storage = Storage(np.zeros(16, "<f4"))
    weight = rebuild(View(storage, 0, (4, 1, 1, 1), (1,) * 4), storage.identity())
    linear = rebuild(View(storage, 0, (4, 4), (4, 1)), storage.identity())
    tensors = {"map_layer0.weight": linear, f"enc.{count}x{count}_conv.weight": weight}
    for r in range(1, count + 1):
        for block in range(3):
            tensors[f"enc.{r}x{r}_block{block}.conv1.weight"] = weight
    return zip_file(tensors, [storage])


def colliding_integers(count: int) -> list[bytes]:
    """Multiples of 2^61 - 1: their hash is 0."""
    numbers = (i * ((1 << 61) - 1) for i in range(1, count + 1))
    return [pickle.LONG1 + b"\x0a" + number.to_bytes(10, "little") for number in numbers]


def frozen(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def storage_in_legacy() -> PersistentId:
    return Storage(np.zeros(4, "<f4")).identity(None)


HOSTILE_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    # ---- code ----
    "os.system": (
        lambda: snapshot(call("os", "system", "touch /tmp/owned")),
        "refuses global 'os.system'",
    ),
    "posix.system": (lambda: snapshot(call("posix", "system", "x")), "'posix.system'"),
    "subprocess": (lambda: snapshot(call("subprocess", "Popen", ["x"])), "'subprocess.Popen'"),
    "builtins.eval": (lambda: snapshot(call("builtins", "eval", "1")), "'builtins.eval'"),
    "builtins.exec-protocol-2": (
        lambda: dumps({"ema": call("__builtin__", "exec", "1")}, 2),
        "'__builtin__.exec'",
    ),
    "getattr-chain": (
        lambda: snapshot(call("builtins", "getattr", Name("collections", "OrderedDict"), "x")),
        "'builtins.getattr'",
    ),
    "dotted-name": (
        lambda: snapshot(Name("collections", "OrderedDict.__init__.__globals__")),
        "'collections.OrderedDict.__init__.__globals__'",
    ),
    "dotted-module": (
        lambda: snapshot(Name("torch._utils._rebuild_tensor_v2", "__globals__")),
        "refuses global",
    ),
    "name-is-no-text": (
        frozen(PROTO4 + pickle.NONE + pickle.NONE + pickle.STACK_GLOBAL + pickle.STOP),
        "refuses global 'that is no text'",
    ),
    "torch.load": (lambda: snapshot(call("torch", "load", "x")), "'torch.load'"),
    "numpy.load": (lambda: snapshot(call("numpy", "load", "x")), "'numpy.load'"),
    "runpy-in-zip": (
        lambda: zip_file(call("runpy", "run_path", "x"), []),
        "'runpy.run_path'",
    ),
    "os.system-in-legacy": (
        lambda: legacy_file(call("os", "system", "x"), []),
        "'os.system'",
    ),
    "os.system-in-storage": (
        lambda: snapshot(
            call("torch.storage", "_load_from_bytes", legacy_file(call("os", "system", "x"), []))
        ),
        "'os.system'",
    ),
    "inst": (frozen(PROTO2 + b"(ios\nsystem\n."), "refuses opcode INST"),
    "obj": (frozen(PROTO2 + b"(" + name("torch", "Size") + b"o."), "refuses opcode OBJ"),
    "newobj-ex": (frozen(PROTO4 + b")}\x92."), "refuses opcode NEWOBJ_EX"),
    "extension-code": (frozen(PROTO2 + b"\x82\x01."), "refuses opcode EXT1"),
    "out-of-band-buffer": (frozen(b"\x80\x05\x97."), "refuses opcode NEXT_BUFFER"),
    "unknown-opcode": (frozen(PROTO2 + b"\xff."), "refuses opcode 0xff"),
    "text-persistent-id": (frozen(PROTO2 + b"Px\n."), "refuses opcode PERSID"),
    "calls-a-tuple": (frozen(PROTO2 + b"))R."), "refuses to call a tuple"),
    "calls-a-class": (
        lambda: snapshot(call("torch.nn.modules.container", "ModuleDict")),
        "refuses to call torch.nn.modules.container.ModuleDict",
    ),
    "makes-a-function": (
        lambda: snapshot(New(Name("torch._utils", "_rebuild_tensor_v2"))),
        "refuses to make an object of torch._utils._rebuild_tensor_v2",
    ),
    "state-of-a-dict": (frozen(PROTO2 + b"}}b."), "refuses to set the state of a dict"),
    "state-of-a-function": (
        frozen(PROTO2 + name("torch", "Size") + b"}b."),
        "refuses to set the state of torch.Size",
    ),
    "state-of-a-tensor": (state_of_a_tensor, "refuses to set the state of a Tensor"),
    "state-twice": (
        frozen(PROTO2 + name("torch.nn.modules.container", "ModuleDict") + b")\x81}b}b."),
        "sets the state of a torch.nn.modules.container.ModuleDict twice",
    ),
    # ---- the pickle language ----
    "empty": (frozen(b""), "empty"),
    "no-pickle": (frozen(b"\x00" * 100), "neither a pickle"),
    "text-pickle": (frozen(b"cos\nsystem\n(S'x'\ntR."), "neither a pickle"),
    "protocol-9": (frozen(b"\x80\x09."), "protocol 9"),
    "protocol-0-opcodes": (frozen(PROTO2 + b"I1\n."), "refuses opcode INT"),
    "nothing": (frozen(PROTO2 + b"."), "STOP with more or less than one value"),
    "too-much": (frozen(PROTO2 + b"NN."), "STOP with more or less than one value"),
    "open-mark": (frozen(PROTO2 + b"(N."), "STOP with more or less than one value"),
    "no-mark": (frozen(PROTO2 + b"Nt."), "no MARK"),
    "pop-of-nothing": (frozen(PROTO2 + b"0."), "no MARK"),
    "underflow": (frozen(PROTO2 + b"\x86."), "empty stack"),
    "reduce-of-nothing": (frozen(PROTO2 + b"R."), "empty stack"),
    "append-to-a-dict": (frozen(PROTO2 + b"}Na."), "appends to a dict"),
    "item-of-a-list": (frozen(PROTO2 + b"]NNs."), "sets items of a list"),
    "odd-items": (frozen(PROTO2 + b"}(Nu."), "a key without a value"),
    "add-to-a-list": (frozen(PROTO4 + b"](N\x90."), "adds items to a list"),
    "unset-memo": (frozen(PROTO2 + b"h\x07."), "memo index 7 was never set"),
    "huge-memo-index": (
        frozen(PROTO2 + b"Nr" + struct.pack("<I", 0xFFFFFFFF) + b"."),
        "memo index 4294967295",
    ),
    "huge-bytes": (
        frozen(PROTO4 + b"\x8e" + struct.pack("<Q", 1 << 62) + b"x."),
        "needs 4611686018427387904 bytes where 2 are left",
    ),
    "huge-text": (frozen(PROTO2 + b"X" + struct.pack("<I", 0xFFFFFFF0) + b"x."), "needs 429496"),
    "huge-frame": (frozen(PROTO4 + b"\x95" + struct.pack("<Q", 1 << 62) + b"N."), "a frame of"),
    "huge-integer": (
        frozen(PROTO2 + b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b"."),
        "an integer of 1048576 bytes",
    ),
    "negative-integer-length": (
        frozen(PROTO2 + b"\x8b" + struct.pack("<i", -5) + b"."),
        "an integer of -5 bytes",
    ),
    "text-not-utf8": (frozen(PROTO4 + b"\x8c\x02\xff\xfe."), "not UTF-8"),
    "name-without-end": (frozen(PROTO2 + b"c" + b"x" * 1000), "longer than 256 bytes"),
    "name-not-utf8": (frozen(PROTO2 + b"c\xff\n\xff\n."), "not UTF-8"),
    "duplicate-key": (frozen(PROTO2 + b"}(K\x01NK\x01Nu."), "key '1' of a dict twice"),
    "duplicate-key-of-an-ordered-dict": (
        lambda: dumps(call("collections", "OrderedDict", [("a", 1), ("a", 2)])),
        "has key 'a' twice",
    ),
    "list-as-key": (frozen(PROTO2 + b"}]Ns."), "uses a list as a key"),
    "billion-laughs-as-key": (
        frozen(PROTO2 + b"}" + laughs(200)[2:] + b"Ns."),
        "uses a tuple as a key",
    ),
    "billion-laughs-in-a-set": (
        frozen(PROTO4 + b"\x8f(" + laughs(200)[2:] + b"\x90."),
        "uses a tuple as a key",
    ),
    "billion-laughs": (frozen(laughs(50_000) + b"."), "holds a tuple"),
    "deep-list": (frozen(PROTO4 + b"]" * 45_000 + b"a" * 44_999 + b"."), "holds a list"),
    "deep-marks": (frozen(PROTO4 + b"(" * 90_000), "needs 1 bytes where 0 are left"),
    "million-sets": (frozen(PROTO4 + b"\x8f" * 1_000_000), "more operations than"),
    "million-memo-entries": (frozen(PROTO4 + b"N" + b"\x94" * 1_000_000), "more operations than"),
    "a-text-encoded-again-and-again": (encoded_text, "_codecs.encode: the pickle copies more"),
    "a-list-sized-again-and-again": (
        lambda: repeated(name("torch", "Size"), one_list(b"K\x01", 50_000), 16_000),
        "torch.Size: the pickle copies more",
    ),
    "a-list-made-sets-again-and-again": (
        lambda: repeated(name("builtins", "set"), one_list(b"K\x01", 40_000), 15_000),
        "builtins.set: the pickle copies more",
    ),
    "pairs-made-dicts-again-and-again": (
        lambda: repeated(
            name("collections", "OrderedDict"),
            b"](" + b"".join(b"K" + bytes([i]) + b"N\x86" for i in range(256)) + b"e\x85",
            30_000,
        ),
        "collections.OrderedDict: the pickle copies more",
    ),
    "a-buffer-made-arrays-again-and-again": (arrays_of_a_buffer, "holds a list"),
    "colliding-keys": (
        lambda: PROTO4 + b"}(" + b"".join(k + b"N" for k in colliding_integers(48_000)) + b"u.",
        "an integer of more than 8 bytes as a key",
    ),
    "colliding-items": (
        lambda: PROTO4 + b"\x8f(" + b"".join(colliding_integers(95_000)) + b"\x90.",
        "an integer of more than 8 bytes as a key",
    ),
    "colliding-items-of-a-frozenset": (
        lambda: PROTO4 + b"(" + b"".join(colliding_integers(95_000)) + b"\x91.",
        "an integer of more than 8 bytes as a key",
    ),
    "colliding-items-of-a-built-set": (
        lambda: (
            PROTO4
            + name("builtins", "set")
            + b"]("
            + b"".join(colliding_integers(20_000))
            + b"e\x85R."
        ),
        "an integer of more than 8 bytes as a key",
    ),
    "cyclic-list": (frozen(PROTO2 + b"]q\x00h\x00a."), "holds a list"),
    "cyclic-dict": (frozen(PROTO2 + b"}q\x00X\x03\x00\x00\x00emah\x00s."), "holds no network"),
    "garbage-behind": (lambda: good_edm() + b"x", "1 bytes after the end of the pickle"),
    "cut-off": (lambda: good_edm()[:-1], "reaches beyond the data"),
    "cut-in-half": (lambda: good_edm()[: len(good_edm()) // 2], "reaches beyond the data"),
    # ---- objects ----
    "meta-no-dict": (
        lambda: snapshot(call("torch_utils.persistence", "_reconstruct_persistent_obj", 7)),
        "needs a dict",
    ),
    "meta-other-version": (
        lambda: snapshot(
            call(
                "torch_utils.persistence",
                "_reconstruct_persistent_obj",
                {"type": "class", "version": 7, "class_name": "EDMPrecond", "state": {}},
            )
        ),
        "version 6",
    ),
    "class-name-with-escapes": (
        lambda: snapshot(persistent("\x1b[31mEvil\n", {})),
        r"'\\x1b[31mEvil\\x0a' is no class name",
    ),
    "shared-modules": (lambda: shared_modules(60), "shared, inside itself"),
    "cyclic-modules": (cyclic_modules, "shared, inside itself"),
    "deep-modules": (lambda: deep_modules(3000), "nested too deeply"),
    "module-is-a-number": (
        lambda: edm_pickle("EDMPrecond", {}, small_fixture().config, _modules={"model": 7}),
        "'model' is a int, not a module",
    ),
    "parameter-is-a-number": (
        lambda: edm_pickle("EDMPrecond", {}, small_fixture().config, _parameters={"w": 7}),
        "'w' is a int",
    ),
    "parameters-are-a-list": (
        lambda: edm_pickle("EDMPrecond", {}, small_fixture().config, _parameters=[1]),
        "_parameters of '' is a list",
    ),
    "name-with-a-path": (
        lambda: edm_pickle("EDMPrecond", {}, small_fixture().config, _modules={"../x": 7}),
        "is no name of a parameter",
    ),
    "numpy-object-array": (
        lambda: snapshot(call("numpy", "dtype", "O8", False, True)),
        "'O8' is not a number type",
    ),
    "numpy-array-too-large": (
        lambda: snapshot(
            persistent(
                "EDMPrecond",
                {
                    "_init_args": (),
                    "_init_kwargs": {
                        "channel_mult": Call(
                            Name("numpy.core.multiarray", "_reconstruct"),
                            (Name("numpy", "ndarray"), (0,), b"b"),
                            (1, (1 << 40,), call("numpy", "dtype", "f8", False, True), False, b""),
                        )
                    },
                },
            )
        ),
        "shape and bytes disagree",
    ),
    "numpy-array-of-nothing-but-lists": (
        lambda: edm_pickle(
            "EDMPrecond",
            {},
            small_fixture().config
            | {"channel_mult": numpy_array("f8", (4096, 4096, 4096, 0), b"")},
        ),
        "channel_mult must not be empty",
    ),
    "many-arguments-of-one-list": (
        lambda: many_arguments_of_one_list(60_000),
        "EDMPrecond has 60014 arguments",
    ),
    "numpy-negative-shape": (
        lambda: snapshot(
            call(
                "numpy.core.numeric",
                "_frombuffer",
                b"",
                call("numpy", "dtype", "f8", False, True),
                (-1,),
                "C",
            )
        ),
        "shape and bytes disagree",
    ),
    # ---- tensors ----
    "one-state-dict-in-many-places": (
        lambda: one_state_dict_in_many_places(15_000),
        "no layer model.enc",
    ),
    "many-levels": (lambda: many_levels(9000), "channel_mult must be a list of at most 12"),
    "negative-stride": (lambda: with_view(15, (4,), (-1,)), "from 0 to 2^48"),
    "negative-offset": (lambda: with_view(-1, (4,), (1,)), "from 0 to 2^48"),
    "negative-size": (lambda: with_view(0, (-4,), (1,)), "from 0 to 2^48"),
    "offset-beyond": (lambda: with_view(13, (4,), (1,)), "element 16 of a storage that has 16"),
    "stride-beyond": (lambda: with_view(0, (4, 4), (100, 1)), "element 303 of a storage"),
    "huge-size": (lambda: with_view(0, (1 << 62,), (1,)), "from 0 to 2^48"),
    "size-overflows": (lambda: with_view(0, (1 << 40,) * 3, (0, 0, 0)), "repeats elements"),
    "broadcast": (lambda: with_view(0, (1 << 30,), (0,)), "repeats elements"),
    "many-dimensions": (lambda: with_view(0, (1,) * 9, (0,) * 9), "9 dimensions"),
    "size-no-tuple": (lambda: with_view(0, 4, (1,)), "must be tuples"),
    "size-of-booleans": (lambda: with_view(0, (True,), (1,)), "must be integers"),
    "stride-of-other-length": (lambda: with_view(0, (4, 4), (1,)), "tuples of one length"),
    "tensor-on-a-number": (
        lambda: snapshot(call("torch._utils", "_rebuild_tensor_v2", 7, 0, (1,), (1,))),
        "no storage",
    ),
    "parameter-on-a-number": (
        lambda: snapshot(call("torch._utils", "_rebuild_parameter", 7, True, ordered_dict())),
        "no tensor",
    ),
    "tensors-of-the-same-bytes": (growing_file, "several tensors are views of the same bytes"),
    # ---- storages ----
    "storage-outside-a-torch-file": (
        lambda: snapshot(PersistentId(("storage", FLOAT, "0", "cpu", 16))),
        "refuses a persistent id outside a torch file",
    ),
    "persistent-id-of-a-module": (
        lambda: with_identity("module", "os", "x.py", "source"),
        "names no storage",
    ),
    "persistent-id-is-text": (
        lambda: zip_file({"x": PersistentId("../../etc/passwd")}, []),
        "names no storage",
    ),
    "nested-persistent-id": (
        lambda: zip_file({"x": PersistentId(PersistentId("x"))}, []),
        "names no storage",
    ),
    "storage-of-no-type": (lambda: with_identity("storage", "x", "0", "cpu", 16), "has no type"),
    "storage-with-a-path": (
        lambda: with_identity("storage", FLOAT, "../../x", "cpu", 16),
        "archive/data/../../x' is missing",
    ),
    "storage-missing": (lambda: with_identity("storage", FLOAT, "9", "cpu", 16), "9' is missing"),
    "storage-too-large": (
        lambda: with_identity("storage", FLOAT, "0", "cpu", 1 << 40),
        "has 64 bytes, not 1099511627776 elements of 4",
    ),
    "storage-negative": (lambda: with_identity("storage", FLOAT, "0", "cpu", -1), "no number of"),
    "storage-with-a-view": (
        lambda: with_identity("storage", FLOAT, "0", "cpu", 16, ("v", 0, 4)),
        "is a view",
    ),
    "storage-in-two-ways": (
        lambda: zip_file(
            [
                PersistentId(("storage", FLOAT, "0", "cpu", 4)),
                PersistentId(("storage", Name("torch", "IntStorage"), "0", "cpu", 4)),
            ],
            [Storage(np.zeros(4, "<f4"), key="0")],
        ),
        "described in two ways",
    ),
    "storage-bytes-not-bytes": (
        lambda: snapshot(call("torch.storage", "_load_from_bytes", "x")),
        "needs bytes",
    ),
    "storage-bytes-other-format": (
        lambda: snapshot(call("torch.storage", "_load_from_bytes", b"PK\x03\x04")),
        "does not begin with torch's magic number",
    ),
    "storage-bytes-no-storage": (
        lambda: snapshot(call("torch.storage", "_load_from_bytes", legacy_file({}, []))),
        "something else than a storage",
    ),
    "storage-bytes-in-themselves": (
        lambda: nested_storages(400),
        "'torch.storage._load_from_bytes'",
    ),
    # ---- the legacy container ----
    "legacy-cut-off": (
        lambda: torch_legacy({"map_layer0.weight": np.zeros(16, "<f4")})[:-1],
        "cut off in storage",
    ),
    "legacy-without-storages": (
        lambda: torch_legacy({"map_layer0.weight": np.zeros(16, "<f4")})[:-72],
        "cut off before a storage",
    ),
    "legacy-garbage-behind": (
        lambda: torch_legacy({"map_layer0.weight": np.zeros(16, "<f4")}) + b"x",
        "1 bytes after the last storage",
    ),
    "legacy-negative-count": (
        lambda: (
            torch_legacy({"map_layer0.weight": np.zeros(16, "<f4")})[:-72] + struct.pack("<q", -16)
        ),
        "has -16 elements, not 16",
    ),
    "legacy-unknown-key": (
        lambda: legacy_file({}, [Storage(np.zeros(4, "<f4"))]),
        "is not expected",
    ),
    "legacy-missing-key": (
        lambda: legacy_file({"x": storage_in_legacy()}, []),
        "has no bytes",
    ),
    "legacy-big-endian": (
        lambda: torch_legacy({"x": np.zeros(1, "<f4")}).replace(
            b"little_endianq\x02\x88", b"little_endianq\x02\x89"
        ),
        "only little-endian",
    ),
    "legacy-other-version": (
        lambda: dumps(0x1950A86A20F9469CFC6C, 2) + dumps(7, 2),
        "a protocol version that is not 1001",
    ),
    # ---- the zip container ----
    "zip-cut-off": (lambda: torch_zip(good_tensors())[:-30], "the file is cut off"),
    "zip-only-magic": (frozen(b"PK\x03\x04"), "the file is cut off"),
    "zip-compressed": (
        lambda: edited_zip(
            lambda a: a.writestr("archive/data/0", b"\0" * 10_000_000), zipfile.ZIP_DEFLATED
        ),
        "is compressed",
    ),
    "zip-slip": (
        lambda: edited_zip(lambda a: a.writestr("archive/../../etc/x", b"x")),
        "is no path inside the archive",
    ),
    "zip-absolute": (
        lambda: edited_zip(lambda a: a.writestr("/etc/x", b"x")),
        "is no path inside the archive",
    ),
    "zip-without-pickle": (
        lambda: edited_zip(lambda a: None).replace(b"archive/data.pkl", b"archive/dada.pkl"),
        "0 entries data.pkl",
    ),
    "zip-two-pickles": (
        lambda: edited_zip(lambda a: a.writestr("other/data.pkl", b"x")),
        "2 entries data.pkl",
    ),
    "zip-torchscript": (
        lambda: edited_zip(lambda a: a.writestr("archive/code/x.py", b"x")),
        "TorchScript",
    ),
    "zip-big-endian": (
        lambda: edited_zip(lambda a: a.writestr("archive/byteorder", b"big")),
        "big-endian",
    ),
    "zip-twice-the-name": (
        lambda: edited_zip(lambda a: a.writestr("archive/data.pxl", b"x")).replace(
            b"archive/data.pxl", b"archive/data.pkl"
        ),
        "occurs twice",
    ),
    "zip-size-beyond": (
        lambda: zip_with_directory(put("<2L", 20, 1 << 30, 1 << 30)),
        "lies outside the file",
    ),
    "zip-offset-beyond": (
        lambda: zip_with_directory(put("<L", 42, 1 << 30)),
        "lies outside the file",
    ),
    "zip-offset-of-another": (
        lambda: zip_with_directory(put("<L", 42, 1)),
        "differs from what the directory says",
    ),
    "zip-encrypted": (lambda: zip_with_directory(put("<H", 8, 1)), "is encrypted"),
    "zip-64-bit-sizes-missing": (
        lambda: zip_with_directory(put("<L", 24, 0xFFFFFFFF)),
        "64-bit sizes of an entry are missing",
    ),
    "zip-directory-corrupt": (lambda: zip_with_directory(put("<L", 0, 0)), "directory is corrupt"),
    "zip-many-entries": (many_entries, "4294967296 entries"),
}


def good_files() -> dict[str, tuple[bytes, dict[str, Any]]]:
    """One valid file of each container, with the options that convert it."""
    model = small_fixture()
    options = {"preconditioning": model.preconditioning}
    return {
        "edm": (good_edm(), {}),
        "zip": (torch_zip(model.tensors), options),
        "legacy": (torch_legacy(model.tensors), options),
    }
