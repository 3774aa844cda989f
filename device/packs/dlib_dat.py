"""Reads dlib's serialised networks (`.dat`) without dlib.

Called by `packs.dlib_resnet`. A file holds no description of its own structure, so the reader is told the layers that
it must find and refuses anything else. It must consume the file to the last byte; every length is checked first.

The format as dlib's serialize.h and dnn/layers.h write it: integers as a control byte (bit 7 = negative, low nibble =
count) and that many little-endian bytes; floats as mantissa and exponent; tensors as raw little-endian float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch

Floats = npt.NDArray[np.float32]

# Wrappers that write nothing but their version: tags and skips.
SILENT = ""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer that computes: its name in the file, its settings in the file's order, and its parameters.

    con_4: filters, rows, columns, stride_y, stride_x, pad_y, pad_x; parameters [filters, in, rows, columns] weights,
        [filters] bias
    affine_: parameters [channels] scale, [channels] offset
    max_pool_2, avg_pool_2: rows, columns, stride_y, stride_x, pad_y, pad_x; 0 rows = everything
    fc_2: outputs, inputs; parameters [inputs, outputs]
    relu_, add_prev_: nothing
    """

    name: str
    settings: tuple[int, ...] = ()
    parameters: tuple[Floats, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class MetricNetwork:
    """A network for metric learning on RGB pictures: mean colour, picture side, layers in order of execution."""

    mean: tuple[float, float, float]
    size: int
    layers: tuple[Layer, ...] = field(repr=False)


def read_network(data: bytes, names: tuple[str, ...]) -> MetricNetwork:
    """The network whose layers, innermost first, are called `names` (SILENT for tags and skips).

    ModelMismatch, with the byte where it went wrong, for anything else.
    """
    stream = _Stream(data)
    stream.expect_int(1, "loss layer")
    stream.expect_string("loss_metric_2")
    stream.floats(2)
    for index, name in reversed(list(enumerate(names))):
        stream.expect_int(3 if index == 0 else 1 if name == SILENT else 2, "layer version")
    stream.expect_string("input_rgb_image_sized")
    red, green, blue = stream.floats(3)
    size = stream.expect_int(stream.integer(), "square picture")
    layers = tuple(_layer(stream, name, index == 0) for index, name in enumerate(names) if name != SILENT)
    stream.expect_end()
    return MetricNetwork((red, green, blue), size, layers)


def _layer(stream: _Stream, name: str, is_first: bool) -> Layer:
    stream.expect_string(name)
    layer = _READERS[name](stream, name)
    stream.skip_flags(3)
    for _ in range(3):  # gradients and caches of training, empty in a published network
        stream.expect_empty_tensor()
    if is_first:
        stream.expect_int(1, "sample expansion factor")
    return layer


def _convolution(stream: _Stream, name: str) -> Layer:
    values = stream.tensor()
    settings = stream.integers(7)
    shape = stream.alias()
    bias = stream.alias()
    stream.floats(4)
    if shape[0] != settings[0] or shape[2:] != settings[1:3] or bias != (1, settings[0], 1, 1):
        raise stream.wrong(f"{name} whose shapes contradict one another")
    if values.size != math.prod(shape) + settings[0] or min(shape) < 1:
        raise stream.wrong(f"{name} with another number of weights")
    filters, offsets = np.split(values, [math.prod(shape)])
    return Layer(name, settings, (filters.reshape(shape), offsets))


def _affine(stream: _Stream, name: str) -> Layer:
    values = stream.tensor()
    scale, offset = stream.alias(), stream.alias()
    stream.expect_int(0, "affine mode")
    if scale != offset or scale != (1, values.size // 2, 1, 1) or values.size % 2:
        raise stream.wrong(f"{name} whose shapes contradict one another")
    scales, offsets = np.split(values, [values.size // 2])
    return Layer(name, (), (scales, offsets))


def _dense(stream: _Stream, name: str) -> Layer:
    outputs, inputs = stream.integers(2)
    values = stream.tensor()
    shape, _ = stream.alias(), stream.alias()
    stream.expect_int(1, "dense layer without bias")
    stream.floats(4)
    if shape != (inputs, outputs, 1, 1) or values.size != inputs * outputs:
        raise stream.wrong(f"{name} whose shapes contradict one another")
    return Layer(name, (outputs, inputs), (values.reshape(inputs, outputs),))


def _pool(stream: _Stream, name: str) -> Layer:
    return Layer(name, stream.integers(6))


def _plain(_: _Stream, name: str) -> Layer:
    return Layer(name)


_READERS = {"con_4": _convolution, "affine_": _affine, "fc_2": _dense, "max_pool_2": _pool, "avg_pool_2": _pool,
            "relu_": _plain, "add_prev_": _plain}


class _Stream:
    """The file's bytes and how far they are read."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def wrong(self, what: str) -> ModelMismatch:
        return ModelMismatch(f"not a dlib face recognition ResNet: {what} near byte {self._at}")

    def integer(self) -> int:
        control = self._take(1)[0]
        count = control & 0x0F
        if control & 0x70 or not 1 <= count <= 8:
            raise self.wrong(f"control byte {control:#04x}")
        value = int.from_bytes(self._take(count), "little")
        return -value if control & 0x80 else value

    def integers(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(count))

    def floats(self, count: int) -> tuple[float, ...]:
        return tuple(self._float() for _ in range(count))

    def tensor(self) -> Floats:
        """The values, flat; ModelMismatch where one is not finite."""
        self.expect_int(2, "tensor version")
        shape = self.integers(4)
        if min(shape) < 0:
            raise self.wrong("negative size")
        values = np.frombuffer(self._take(4 * math.prod(shape)), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise self.wrong("weights that are not finite")
        return values

    def alias(self) -> tuple[int, ...]:
        self.expect_int(1, "alias version")
        return self.integers(4)

    def expect_int(self, expected: int, what: str) -> int:
        if self.integer() != expected:
            raise self.wrong(f"another {what}")
        return expected

    def expect_string(self, expected: str) -> None:
        if self.integer() != len(expected) or self._take(len(expected)) != expected.encode("ascii"):
            raise self.wrong(f"no {expected}")

    def expect_empty_tensor(self) -> None:
        if self.tensor().size:
            raise self.wrong("state of training")

    def skip_flags(self, count: int) -> None:
        if self._take(count).strip(b"01"):
            raise self.wrong("no flags")

    def expect_end(self) -> None:
        if self._at != len(self._data):
            raise self.wrong(f"{len(self._data) - self._at} bytes too many")

    def _float(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > 1100 or abs(mantissa) >= 1 << 54:
            raise self.wrong("a number that is not finite")
        return math.ldexp(mantissa, exponent)

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise self.wrong("the file ends too early")
        taken = self._data[self._at:self._at + count]
        self._at += count
        return taken
