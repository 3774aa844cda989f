"""dlib's face recognition ResNet (29 convolutions, 128 values) as TFLite, from its .dat file.

Input [1, 150, 150, 3] RGB 0..255; dlib's (x - mean) / 256 is folded into the first convolution, which is not padded,
so that the fold is exact. Output [1, 128] as dlib gives it, not of unit length.

Surprises of this network: stride-1 convolutions pad by 1, everything of stride 2 does not pad; the skip of a down
block is the 2×2 average of the block's input; and where the branches of an addition differ in size, the smaller one
is filled with zeros at the bottom, at the right, and behind the last channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch
from device.packs.dlib_dat import SILENT, Layer, MetricNetwork, read_network
from device.packs.flatbuffer import GraphWriter, Tensor

SIZE, DIMENSIONS = 150, 128

# Folding is done in float64, so that only the result is rounded.
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Block:
    filters: int
    is_down: bool


_PAIR = ("con_4", "affine_", "relu_", "con_4", "affine_")


def _stage(filters: int, plain: int) -> tuple[_Block, ...]:
    return (_Block(filters, True), *[_Block(filters, False)] * plain)


_BLOCKS = (*[_Block(32, False)] * 3, *_stage(64, 3), *_stage(128, 2), *_stage(256, 2), *_stage(256, 0))


def layer_names() -> tuple[str, ...]:
    """The 130 wrappers of the network, innermost first."""
    names = ["con_4", "affine_", "relu_", "max_pool_2"]
    for block in _BLOCKS:
        tail = (SILENT, SILENT, "avg_pool_2", "add_prev_", "relu_") if block.is_down else ("add_prev_", "relu_")
        names += [SILENT, *_PAIR, *tail]
    return (*names, "avg_pool_2", "fc_2")


def convert(data: bytes, *, has_half_weights: bool = False) -> bytes:
    """The network as a TFLite file; ModelMismatch where `data` is not a .dat of this architecture."""
    network = read_network(data, layer_names())
    if network.size != SIZE:
        raise ModelMismatch(f"not a dlib face recognition ResNet: pictures of {network.size}, not {SIZE} pixels")
    writer = GraphWriter("dlib_resnet", (1, SIZE, SIZE, 3), has_half_weights=has_half_weights)
    layers = iter(network.layers)
    x = _stem(writer, network, layers)
    for block in _BLOCKS:
        x = _block(writer, x, block, layers)
    x = writer.pool(x, "average", x.shape[1], 1)
    _expect(next(layers), (0, 0, 1, 1, 0, 0))
    dense = next(layers)
    _expect(dense, (DIMENSIONS, x.shape[3]))
    weights = np.ascontiguousarray(dense.parameters[0].T)
    return writer.finish(writer.dense(writer.reshape(x, (1, x.shape[3])), weights))


def _stem(writer: GraphWriter, network: MetricNetwork, layers: Iterator[Layer]) -> Tensor:
    weights, bias = _folded(layers, (32, 7, 7, 2, 2, 0, 0))
    # (x - mean) / 256 on each channel, moved into weights and bias.
    mean = np.array(network.mean, np.float64)
    bias = bias - (weights * mean).sum(axis=(1, 2, 3)) / 256
    x = _conv(writer, writer.input, weights / 256, bias, stride=2, is_relu=True)
    next(layers)  # relu
    _expect(next(layers), (3, 3, 2, 2, 0, 0))
    return writer.pool(x, "max", 3, 2)


def _block(writer: GraphWriter, x: Tensor, block: _Block, layers: Iterator[Layer]) -> Tensor:
    first = (block.filters, 3, 3, 2, 2, 0, 0) if block.is_down else (block.filters, 3, 3, 1, 1, 1, 1)
    branch = _conv(writer, x, *_folded(layers, first), stride=first[3], is_relu=True)
    next(layers)  # relu
    branch = _conv(writer, branch, *_folded(layers, (block.filters, 3, 3, 1, 1, 1, 1)))
    skip = x
    if block.is_down:
        _expect(next(layers), (2, 2, 2, 2, 0, 0))
        skip = writer.pool(x, "average", 2, 2)
    next(layers), next(layers)  # addition and relu
    shape = tuple(max(pair) for pair in zip(branch.shape, skip.shape, strict=True))
    return writer.add(_filled(writer, branch, shape), _filled(writer, skip, shape), is_relu=True)


def _filled(writer: GraphWriter, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if x.shape == shape:
        return x
    return writer.pad(x, tuple((0, wanted - there) for wanted, there in zip(shape, x.shape, strict=True)))


def _folded(layers: Iterator[Layer], settings: tuple[int, ...]) -> tuple[Doubles, Doubles]:
    """A convolution with the affine layer after it: weights [out, kh, kw, in] and bias in float64."""
    convolution, affine = next(layers), next(layers)
    _expect(convolution, settings)
    filters, bias = (values.astype(np.float64) for values in convolution.parameters)
    scale, offset = (values.astype(np.float64) for values in affine.parameters)
    if scale.shape != bias.shape:
        raise ModelMismatch(f"not a dlib face recognition ResNet: {scale.size} scales for {bias.size} filters")
    return (filters * scale[:, None, None, None]).transpose(0, 2, 3, 1), bias * scale + offset


def _conv(writer: GraphWriter, x: Tensor, weights: Doubles, bias: Doubles, *, stride: int = 1,
          is_relu: bool = False) -> Tensor:
    return writer.conv(x, weights.astype(np.float32), bias.astype(np.float32), stride=stride,
                       padding="SAME" if stride == 1 else "VALID", is_relu=is_relu)


def _expect(layer: Layer, settings: tuple[int, ...]) -> None:
    if layer.settings != settings:
        raise ModelMismatch(f"not a dlib face recognition ResNet: {layer.name} {layer.settings} where {settings} "
                            "belongs")
