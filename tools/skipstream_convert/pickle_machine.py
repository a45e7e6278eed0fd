"""Interprets the part of the pickle language that data needs.

Not a subclass of pickle.Unpickler: the C one allocates what LONG_BINPUT and BINBYTES8 claim, both
copy every byte string, and both call whatever find_class returns. Here a name is looked up in a
table of exact names and gives a marker; a marker builds plain values by a function of ours (REDUCE)
or an inert object (NEWOBJ); everything else is refused. Byte strings are views of the file. The
loop never recurses, the memo is a dict, and a Budget bounds what one file can make it build.

Accepted: binary opcodes of protocols 2 to 5. Refused by name: text opcodes of protocol 0, INST and
OBJ, extension codes, out-of-band buffers, NEWOBJ_EX.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skipstream_convert.errors import ConvertError, quoted

_MAX_NAME = 256
_MAX_INTEGER_BYTES = 16
_MAX_KEY_BYTES = 8
_PROTOCOLS = range(2, 6)
_UTF8_ERRORS = "surrogatepass"  # as pickle writes them

# Keys must not be hashed on the file's terms: a shared tuple of tuples takes exponential time.
_KEY_TYPES = frozenset({str, bool, type(None)})

_LEAST_COPIES = 4 << 20
_MOST_COPIES = 64 << 20


@dataclass(slots=True)
class Budget:
    """What one file may make the machine do, all its pickles together.

    An operation makes at most one small object (some 350 bytes with its place in the memo), so this
    bounds memory too. Published checkpoints take 20 to 200 thousand for hundreds of megabytes.
    A builder that copies its arguments pays for them besides: one list in the memo may be the
    argument of every call.
    """

    operations: int
    text_bytes: int
    copied_bytes: int

    @staticmethod
    def for_file(size: int) -> Budget:
        operations = min(100_000 + size // 64, 1_000_000)
        return Budget(operations, 64 << 20, min(_LEAST_COPIES + 2 * size, _MOST_COPIES))

    def spend_operation(self) -> None:
        self.operations -= 1
        if self.operations < 0:
            raise ConvertError("the pickle has more operations than any checkpoint needs")

    def spend_text(self, count: int) -> None:
        self.text_bytes -= count
        if self.text_bytes < 0:
            raise ConvertError("the pickle holds more text than any checkpoint needs")

    def spend_copies(self, count: int) -> None:
        self.copied_bytes -= count
        if self.copied_bytes < 0:
            raise ConvertError("the pickle copies more than any checkpoint needs")


@dataclass(frozen=True, slots=True, eq=False)
class Builder:
    """A global that REDUCE may call.

    `item_bytes`: what it makes of one item of an argument (an element, a character, a byte), at
    most; 0 if the size of its arguments does not matter.
    """

    name: str
    build: Callable[[tuple[Any, ...]], Any]
    item_bytes: int

    def copied_bytes(self, arguments: tuple[Any, ...]) -> int:
        return self.item_bytes * sum(
            len(argument) for argument in arguments if type(argument) in (list, tuple, str)
        )


@dataclass(frozen=True, slots=True, eq=False)
class InertClass:
    """A global that NEWOBJ may name; `make` gives the inert object."""

    name: str
    make: Callable[[], Any]


class InertDict(dict[Any, Any]):
    """An OrderedDict or EasyDict; attributes that BUILD would set on it are dropped."""

    __slots__ = ()


@dataclass(slots=True, eq=False)
class InertObject:
    """An instance of a known class: its name and, after BUILD, its state."""

    class_name: str
    state: Any = None


Globals = Mapping[tuple[str, str], Any]
StorageLoader = Callable[[Any], Any]


@dataclass(slots=True)
class PickleMachine:
    """Runs one pickle that begins at `position`; afterwards `position` is behind its STOP."""

    data: memoryview
    position: int
    globals: Globals
    budget: Budget
    load_storage: StorageLoader | None = None  # what BINPERSID asks; none: refused
    _stack: list[Any] = field(default_factory=list)
    _marks: list[list[Any]] = field(default_factory=list)  # stacks below the open MARKs
    _memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> Any:
        start = self.position
        try:
            while True:
                start = self.position
                self.budget.spend_operation()
                code = self._take(1)[0]
                if code == _STOP:
                    if self._marks or len(self._stack) != 1:
                        raise ConvertError("STOP with more or less than one value on the stack")
                    return self._stack.pop()
                operation = _OPERATIONS.get(code)
                if operation is None:
                    raise ConvertError(f"refuses opcode {_opcode_name(code)}")
                operation(self)
        except ConvertError as error:
            raise ConvertError(f"pickle, byte {start}: {error}") from None

    # ---- input ----

    def _take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self.data):
            raise ConvertError(
                f"needs {count} bytes where {len(self.data) - self.position} are left"
            )
        view = self.data[self.position : end]
        self.position = end
        return view

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        """A name of GLOBAL, up to a line feed."""
        window = bytes(self.data[self.position : self.position + _MAX_NAME + 1])
        end = window.find(b"\n")
        if end < 0:
            raise ConvertError(f"the name of a global is longer than {_MAX_NAME} bytes or cut off")
        self.position += end + 1
        try:
            return window[:end].decode()
        except UnicodeDecodeError:
            raise ConvertError("the name of a global is not UTF-8") from None

    # ---- stack ----

    def _pop(self) -> Any:
        if not self._stack:
            raise ConvertError("takes a value from an empty stack")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise ConvertError("uses the top of an empty stack")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise ConvertError("has no MARK on the stack")
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_to_mark()

    def pop_mark(self) -> None:
        self._pop_to_mark()

    def dup(self) -> None:
        self._stack.append(self._top())

    # ---- framing ----

    def proto(self) -> None:
        version = self._number("<B")
        if version not in _PROTOCOLS:
            raise ConvertError(f"protocol {version}; 2 to 5 are read")

    def frame(self) -> None:
        size = self._number("<Q")
        if size > len(self.data) - self.position:
            raise ConvertError(f"a frame of {size} bytes reaches beyond the data")

    # ---- plain values ----

    def integer(self, form: str) -> None:
        self._stack.append(self._number(form))

    def long(self, form: str) -> None:
        count = self._number(form)
        if not 0 <= count <= _MAX_INTEGER_BYTES:
            raise ConvertError(
                f"an integer of {count} bytes; at most {_MAX_INTEGER_BYTES} are read"
            )
        self._stack.append(int.from_bytes(self._take(count), "little", signed=True))

    def text(self, form: str) -> None:
        raw = self._take(self._number(form))
        self.budget.spend_text(len(raw))
        try:
            self._stack.append(str(raw, "utf-8", _UTF8_ERRORS))
        except UnicodeDecodeError:
            raise ConvertError("text that is not UTF-8") from None

    def view(self, form: str) -> None:
        self._stack.append(self._take(self._number(form)))

    def constant(self, value: Any) -> None:
        self._stack.append(value)

    # ---- containers ----

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise ConvertError("takes a value from an empty stack")
        items = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        self._stack.append(items)

    def tuple_to_mark(self) -> None:
        items = self._pop_to_mark()
        self._stack.append(tuple(items))

    def empty(self, kind: type) -> None:
        self._stack.append(kind())

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            raise ConvertError(f"appends to {_kind(target)}, not a list")
        target.extend(items)

    def append(self) -> None:
        item = self._pop()
        self._extend([item])

    def appends(self) -> None:
        self._extend(self._pop_to_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) not in (dict, InertDict):
            raise ConvertError(f"sets items of {_kind(target)}, not a dict")
        if len(items) % 2:
            raise ConvertError("sets a key without a value")
        for index in range(0, len(items), 2):
            key = checked_key(items[index])
            if key in target:
                raise ConvertError(f"sets key {quoted(str(items[index]))} of a dict twice")
            target[key] = items[index + 1]

    def set_item(self) -> None:
        value = self._pop()
        key = self._pop()
        self._set_items([key, value])

    def set_items(self) -> None:
        self._set_items(self._pop_to_mark())

    def add_items(self) -> None:
        items = self._pop_to_mark()
        target = self._top()
        if type(target) is not set:
            raise ConvertError(f"adds items to {_kind(target)}, not a set")
        target.update(checked_key(item) for item in items)

    def frozenset_to_mark(self) -> None:
        items = self._pop_to_mark()
        self._stack.append(frozenset(checked_key(item) for item in items))

    # ---- memo ----

    def put(self, form: str) -> None:
        index = self._number(form)
        if index > 1 << 24:
            raise ConvertError(f"memo index {index} is out of any pickler's range")
        self._memo[index] = self._top()

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._top()

    def get(self, form: str) -> None:
        index = self._number(form)
        if index not in self._memo:
            raise ConvertError(f"memo index {index} was never set")
        self._stack.append(self._memo[index])

    # ---- objects ----

    def _push_global(self, module: Any, name: Any) -> None:
        known = self.globals.get((module, name)) if type(module) is type(name) is str else None
        if known is None:
            where = f"{module}.{name}" if type(module) is type(name) is str else "that is no text"
            raise ConvertError(f"refuses global {quoted(where)}")
        self._stack.append(known)

    def global_(self) -> None:
        module = self._line()
        self._push_global(module, self._line())

    def stack_global(self) -> None:
        name = self._pop()
        self._push_global(self._pop(), name)

    def reduce(self) -> None:
        arguments = self._pop()
        builder = self._pop()
        if not isinstance(builder, Builder):
            raise ConvertError(f"refuses to call {_kind(builder)}")
        if type(arguments) is not tuple:
            raise ConvertError(f"{builder.name}: the arguments are not a tuple")
        try:
            self.budget.spend_copies(builder.copied_bytes(arguments))
            self._stack.append(builder.build(arguments))
        except ConvertError as error:
            raise ConvertError(f"{builder.name}: {error}") from None

    def new_object(self) -> None:
        arguments = self._pop()
        inert_class = self._pop()
        if not isinstance(inert_class, InertClass):
            raise ConvertError(f"refuses to make an object of {_kind(inert_class)}")
        if arguments != ():
            raise ConvertError(f"makes a {inert_class.name} with arguments")
        self._stack.append(inert_class.make())

    def build(self) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, InertObject):
            if target.state is not None:
                raise ConvertError(f"sets the state of a {target.class_name} twice")
            target.state = state
        elif type(target) is not InertDict:
            raise ConvertError(f"refuses to set the state of {_kind(target)}")

    def persistent_id(self) -> None:
        if self.load_storage is None:
            raise ConvertError("refuses a persistent id outside a torch file")
        self._stack.append(self.load_storage(self._pop()))


def checked_key(key: Any) -> Any:
    """What stands for the key in a dict or set: an integer's bytes, anything else itself.

    Python hashes an integer to itself modulo 2^61 - 1, so a file could have all of them collide;
    the hash of bytes, like that of text, is keyed by a secret of the process.
    """
    if type(key) is int:
        try:
            return key.to_bytes(_MAX_KEY_BYTES, "little", signed=True)
        except OverflowError:
            raise ConvertError(
                f"uses an integer of more than {_MAX_KEY_BYTES} bytes as a key"
            ) from None
    if type(key) not in _KEY_TYPES:
        raise ConvertError(f"uses {_kind(key)} as a key; only text and integers are")
    return key


def _kind(value: object) -> str:
    if isinstance(value, Builder | InertClass):
        return value.name
    if isinstance(value, InertObject):
        return f"a {value.class_name}"
    return f"a {type(value).__name__}"


def _opcode_name(code: int) -> str:
    names = [info.name for info in pickletools.opcodes if info.code == chr(code)]
    return f"{names[0]} (0x{code:02x})" if names else f"0x{code:02x}"


_STOP = ord(".")

Operation = Callable[[PickleMachine], None]


def _operations() -> dict[int, Operation]:
    machine = PickleMachine
    by_name: dict[str, Operation] = {
        "PROTO": machine.proto,
        "FRAME": machine.frame,
        "MARK": machine.mark,
        "POP": machine.pop,
        "POP_MARK": machine.pop_mark,
        "DUP": machine.dup,
        "NONE": lambda m: m.constant(None),
        "NEWTRUE": lambda m: m.constant(True),
        "NEWFALSE": lambda m: m.constant(False),
        "BININT": lambda m: m.integer("<i"),
        "BININT1": lambda m: m.integer("<B"),
        "BININT2": lambda m: m.integer("<H"),
        "LONG1": lambda m: m.long("<B"),
        "LONG4": lambda m: m.long("<i"),
        "BINFLOAT": lambda m: m.integer(">d"),
        "SHORT_BINUNICODE": lambda m: m.text("<B"),
        "BINUNICODE": lambda m: m.text("<I"),
        "BINUNICODE8": lambda m: m.text("<Q"),
        # Opcodes of Python 2's text.
        "SHORT_BINSTRING": lambda m: m.text("<B"),
        "BINSTRING": lambda m: m.text("<I"),
        "SHORT_BINBYTES": lambda m: m.view("<B"),
        "BINBYTES": lambda m: m.view("<I"),
        "BINBYTES8": lambda m: m.view("<Q"),
        "BYTEARRAY8": lambda m: m.view("<Q"),
        "EMPTY_TUPLE": lambda m: m.constant(()),
        "TUPLE1": lambda m: m.tuple_of(1),
        "TUPLE2": lambda m: m.tuple_of(2),
        "TUPLE3": lambda m: m.tuple_of(3),
        "TUPLE": machine.tuple_to_mark,
        "EMPTY_LIST": lambda m: m.empty(list),
        "APPEND": machine.append,
        "APPENDS": machine.appends,
        "EMPTY_DICT": lambda m: m.empty(dict),
        "SETITEM": machine.set_item,
        "SETITEMS": machine.set_items,
        "EMPTY_SET": lambda m: m.empty(set),
        "ADDITEMS": machine.add_items,
        "FROZENSET": machine.frozenset_to_mark,
        "BINPUT": lambda m: m.put("<B"),
        "LONG_BINPUT": lambda m: m.put("<I"),
        "MEMOIZE": machine.memoize,
        "BINGET": lambda m: m.get("<B"),
        "LONG_BINGET": lambda m: m.get("<I"),
        "GLOBAL": machine.global_,
        "STACK_GLOBAL": machine.stack_global,
        "REDUCE": machine.reduce,
        "NEWOBJ": machine.new_object,
        "BUILD": machine.build,
        "BINPERSID": machine.persistent_id,
    }
    codes = {info.name: ord(info.code) for info in pickletools.opcodes}
    return {codes[name]: operation for name, operation in by_name.items()}


_OPERATIONS = _operations()
