"""Reads the weights in a .pth file of torch's older, pickled format without torch and without pickle.

Called by `packs.minifasnet`. A pickle is a program; the machine here knows only the thirty instructions that such a
file is made of and four names, executes nothing, and refuses the rest. Every length is checked first.

The format as torch/serialization.py writes it (`_legacy_save`): five pickles (magic number, protocol, a description
of the system, the state by name, the keys of the storages), then per storage in the order of the keys an int64 count
and its values, little-endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch

Array = npt.NDArray[Any]

MOST_BYTES = 64 << 20

_MOST_INSTRUCTIONS = 200_000  # the networks in use have 14,000
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_ORDERED_DICT, _REBUILD = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_KINDS: dict[str, np.dtype[Any]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}


@dataclass(frozen=True, slots=True)
class _Name:
    """A class or function that the file names; never looked up anywhere."""

    text: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    kind: np.dtype[Any]
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]


class _Mark:
    """Where a tuple or a run of items begins on the stack."""


def read_state(data: bytes) -> dict[str, Array]:
    """Name -> values (float32 or int64), in the order of the file; ModelMismatch for anything else.

    Floats are finite. The file must be consumed to the last byte.
    """
    if len(data) > MOST_BYTES:
        raise ModelMismatch(f"not a .pth file: more than {MOST_BYTES >> 20} MB")
    machine = _Machine(data)
    if machine.load() != _MAGIC or machine.load() != _PROTOCOL:
        raise ModelMismatch("not a .pth file of torch's older format")
    system, state, keys = machine.load(), machine.load(), machine.load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        machine.refuse("an unknown byte order")
    if not isinstance(state, dict) or not all(isinstance(value, _Tensor) for value in state.values()):
        machine.refuse("a state that is not all tensors")
    storages = _storages(machine, list(state.values()), keys)
    return {name: _values(machine, tensor, storages[tensor.storage.key]) for name, tensor in state.items()}


def _storages(machine: _Machine, tensors: list[_Tensor], keys: Any) -> dict[str, Array]:
    wanted = {tensor.storage.key: tensor.storage for tensor in tensors}
    if len(wanted) != len(tensors):
        machine.refuse("a storage that two tensors share")
    if not isinstance(keys, list) or len(keys) != len(wanted) or any(
            not isinstance(key, str) or key not in wanted for key in keys) or len(set(keys)) != len(keys):
        machine.refuse("keys that are not those of its tensors")
    found = {key: machine.storage(wanted[key]) for key in keys}
    machine.expect_end()
    return found


def _values(machine: _Machine, tensor: _Tensor, storage: Array) -> Array:
    if tensor.offset or math.prod(tensor.shape) != storage.size:
        machine.refuse("a tensor that is not the whole of its storage")
    return storage.reshape(tensor.shape)


class _Machine:
    """The file's bytes, how far they are read, and one pickle's stack and memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def load(self) -> Any:
        """What the next pickle describes."""
        self._stack, self._memory = [], {}
        for _ in range(_MOST_INSTRUCTIONS):
            code = self._take(1)
            if code == b".":
                return self._pop()
            if code not in _INSTRUCTIONS:
                self.refuse(f"the instruction {code!r}")
            _INSTRUCTIONS[code](self)
        return self.refuse(f"more than {_MOST_INSTRUCTIONS} instructions")

    def storage(self, wanted: _Storage) -> Array:
        """The values of one storage, which lie at this place."""
        if self._integer("<q") != wanted.count:
            self.refuse("a storage of another length")
        values = np.frombuffer(self._take(wanted.count * wanted.kind.itemsize), wanted.kind)
        plain: Array = values.astype(wanted.kind.newbyteorder("="))
        if not np.isfinite(plain).all():
            self.refuse("weights that are not finite")
        return plain

    def expect_end(self) -> None:
        if self._at != len(self._data):
            self.refuse(f"{len(self._data) - self._at} bytes too many")

    def refuse(self, what: str) -> NoReturn:
        raise ModelMismatch(f"not a .pth file of plain weights: {what} before byte {self._at}")

    # --- what the instructions are made of ---

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def push_integer(self, layout: str) -> None:
        self.push(self._integer(layout))

    def push_long(self) -> None:
        self.push(int.from_bytes(self._take(self._integer("<B")), "little", signed=True))

    def push_text(self) -> None:
        self.push(self._text(self._take(self._integer("<I"))))

    def push_name(self) -> None:
        name = f"{self._line()} {self._line()}"
        if name not in (_ORDERED_DICT, _REBUILD, *_KINDS):
            self.refuse("a name that is not needed for weights")
        self.push(_Name(name))

    def skip_protocol(self) -> None:
        if self._integer("<B") != 2:
            self.refuse("another pickle protocol")

    def put(self, layout: str) -> None:
        index = self._integer(layout)
        self._memory[index] = self._top()

    def get(self, layout: str) -> None:
        index = self._integer(layout)
        if index not in self._memory:
            self.refuse("a reference to nothing")
        self.push(self._memory[index])

    def tuple_of(self, count: int) -> None:
        self.push(tuple(reversed([self._pop() for _ in range(count)])))

    def tuple_from_mark(self) -> None:
        self.push(tuple(self._from_mark()))

    def append_item(self) -> None:
        self._append([self._pop()])

    def append_items(self) -> None:
        self._append(self._from_mark())
    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def set_items(self) -> None:
        self._set(self._from_mark())

    def call(self) -> None:
        """One of the two calls that a state is made of."""
        arguments, name = self._pop(), self._pop()
        if name == _Name(_ORDERED_DICT) and arguments == ():
            self.push({})
        elif name == _Name(_REBUILD) and isinstance(arguments, tuple) and len(arguments) == 6:
            self.push(self._tensor(*arguments[:4]))
        else:
            self.refuse("a call that is not needed for weights")

    def storage_of_id(self) -> None:
        """("storage", kind, key, device, count, None)"""
        given = self._pop()
        if not isinstance(given, tuple) or len(given) != 6 or given[0] != "storage" or given[5] is not None:
            self.refuse("an object kept elsewhere")
        name, key, count = given[1], given[2], given[4]
        kind = _KINDS.get(name.text) if isinstance(name, _Name) else None
        if kind is None or not isinstance(key, str) or not _is_size(count):
            self.refuse("a storage of another kind")
        self.push(_Storage(key, kind, count))

    def forget_attributes(self) -> None:
        """Attributes of a dictionary (torch keeps version numbers there) are dropped."""
        self._pop()
        if not isinstance(self._top(), dict):
            self.refuse("attributes of what is no dictionary")

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
        if not isinstance(storage, _Storage) or not _is_size(offset) or not isinstance(shape, tuple) or not all(
                map(_is_size, shape)) or len(shape) > 8:
            self.refuse("a tensor that is none")
        expected = [math.prod(shape[axis + 1:]) for axis in range(len(shape))]
        is_plain = isinstance(strides, tuple) and len(strides) == len(shape) and all(
            size == 1 or stride == wanted for size, stride, wanted in zip(shape, strides, expected, strict=True))
        if not is_plain:
            self.refuse("a tensor whose values do not lie in order")
        return _Tensor(storage, offset, shape)

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not list:
            self.refuse("items of what is no list")
        target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is not dict or len(items) % 2:
            self.refuse("items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str or key in target:
                self.refuse("a key that is no text, or comes twice")
            target[key] = value

    def _from_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if isinstance(self._stack[place], _Mark):
                items = self._stack[place + 1:]
                del self._stack[place:]
                return items
        return self.refuse("an end without a beginning")

    def _pop(self) -> Any:
        value = self._top()
        self._stack.pop()
        return value

    def _top(self) -> Any:
        if not self._stack or isinstance(self._stack[-1], _Mark):
            self.refuse("too few values")
        return self._stack[-1]

    def _integer(self, layout: str) -> int:
        return int(struct.unpack(layout, self._take(struct.calcsize(layout)))[0])

    def _line(self) -> str:
        end = self._data.find(b"\n", self._at, self._at + 100)
        if end < 0:
            self.refuse("a name without an end")
        line = self._text(self._take(end - self._at))
        self._at += 1
        return line

    def _text(self, data: bytes) -> str:
        try:
            return data.decode("ascii")
        except UnicodeDecodeError:
            return self.refuse("text that is not ASCII")

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            self.refuse("the file ends")
        taken = self._data[self._at:self._at + count]
        self._at += count
        return taken


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_BYTES


_INSTRUCTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _Machine.skip_protocol, b"(": lambda machine: machine.push(_Mark()),
    b"N": lambda machine: machine.push(None),
    b"\x88": lambda machine: machine.push(True), b"\x89": lambda machine: machine.push(False),
    b"J": lambda machine: machine.push_integer("<i"), b"K": lambda machine: machine.push_integer("<B"),
    b"M": lambda machine: machine.push_integer("<H"), b"\x8a": _Machine.push_long, b"X": _Machine.push_text,
    b"c": _Machine.push_name, b"}": lambda machine: machine.push({}), b"]": lambda machine: machine.push([]),
    b")": lambda machine: machine.push(()), b"t": _Machine.tuple_from_mark,
    b"\x85": lambda machine: machine.tuple_of(1), b"\x86": lambda machine: machine.tuple_of(2),
    b"\x87": lambda machine: machine.tuple_of(3), b"a": _Machine.append_item, b"e": _Machine.append_items,
    b"s": _Machine.set_item, b"u": _Machine.set_items,
    b"q": lambda machine: machine.put("<B"), b"r": lambda machine: machine.put("<I"),
    b"h": lambda machine: machine.get("<B"), b"j": lambda machine: machine.get("<I"), b"R": _Machine.call,
    b"Q": _Machine.storage_of_id, b"b": _Machine.forget_attributes,
}
