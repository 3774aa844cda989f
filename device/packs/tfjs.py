"""Reads TensorFlow.js graph models: a json with the nodes and one .bin with the weights.

Called by `packs.mobilefacenet`. Nothing is executed; both files are hostile until parsed.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch

Array = npt.NDArray[Any]

_TYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation: its kind, the names of its inputs, and its attributes as the json holds them."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any] = field(repr=False)

    def strides(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.attributes["strides"]["list"]["i"])

    def padding(self) -> str:
        return _text(self.attributes["padding"]["s"])

    def fused(self) -> tuple[str, ...]:
        """The operations that were fused into this one, in order."""
        return tuple(_text(name) for name in self.attributes["fused_ops"]["list"].get("s", ()))


@dataclass(frozen=True, slots=True, eq=False)
class GraphModel:
    """A graph model: its nodes by name, in the order of the file, and its weights."""

    nodes: dict[str, Node]
    weights: dict[str, Array] = field(repr=False)


def read_graph_model(description: bytes, weights: bytes) -> GraphModel:
    """The model; ModelMismatch where either part is not what a graph model must be."""
    try:
        table = json.loads(description)
        nodes = {str(entry["name"]): _node(entry) for entry in table["modelTopology"]["node"]}
        specs = [spec for group in table["weightsManifest"] for spec in group["weights"]]
        return GraphModel(nodes, _weights(specs, weights))
    except ModelMismatch:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise ModelMismatch(f"not a TensorFlow.js graph model ({type(error).__name__}: {error})") from None


def _node(entry: dict[str, Any]) -> Node:
    inputs = tuple(str(name) for name in entry.get("input", ()) if not str(name).startswith("^"))
    return Node(str(entry["name"]), str(entry["op"]), inputs, dict(entry.get("attr", {})))


def _weights(specs: list[dict[str, Any]], data: bytes) -> dict[str, Array]:
    weights: dict[str, Array] = {}
    offset = 0
    for spec in specs:
        shape = tuple(int(n) for n in spec["shape"])
        kind = _TYPES[spec["dtype"]]
        count = math.prod(shape)
        if min(shape, default=1) < 0 or "quantization" in spec or offset + count * kind.itemsize > len(data):
            raise ModelMismatch(f"the weights end before {spec['name']}; the files do not belong together")
        weights[str(spec["name"])] = np.frombuffer(data, kind, count, offset).reshape(shape)
        offset += count * kind.itemsize
    if offset != len(data):
        raise ModelMismatch(f"{len(data) - offset} bytes of weights are left over; the files do not belong together")
    return weights


def _text(encoded: str) -> str:
    return base64.b64decode(encoded, validate=True).decode("ascii")
