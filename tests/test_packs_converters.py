"""The converters against independent implementations, and what they refuse."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.errors import ModelMismatch
from device.face.card import Card
from device.face.runtime import Network
from device.packs import archives, dlib_resnet, mobilefacenet, selftest, tfjs
from device.packs.flatbuffer import GraphWriter

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def published() -> dict[str, bytes]:
    return archives.read_members(archives.HUMAN_MODELS, ["graph", "weights"])


@pytest.fixture(scope="module")
def dat() -> bytes:
    return archives.read_members(archives.FACE_RECOGNITION_MODELS, ["resnet"])["resnet"]


def chips(size: int, portrait: npt.NDArray[np.uint8]) -> list[Floats]:
    """The fixed chip, a face, noise and black, each [1, size, size, 3] RGB."""
    face = cv2.cvtColor(cv2.resize(portrait[40:200, 150:310], (size, size)), cv2.COLOR_BGR2RGB)
    noise = np.random.default_rng(5).integers(0, 256, (size, size, 3))
    pictures = (selftest.chip(size, size)[0], face, noise, np.zeros((size, size, 3)))
    return [np.asarray(picture, np.float32)[np.newaxis] for picture in pictures]


def run_bytes(network: bytes, inputs: list[Floats], folder: Path) -> list[Floats]:
    path = folder / "network.tflite"
    path.write_bytes(network)
    loaded = Network(path)
    return [loaded.run(values)[0][0].copy() for values in inputs]


# --- mobilefacenet, against the repaired graph evaluated in numpy ---


class NumpyGraph:
    """Evaluates the published graph with its repair written another way: Sub turned round, the fused Relu of the
    depthwise nodes dropped, a Relu put before the addition instead."""

    def __init__(self, published: dict[str, bytes], has_half_weights: bool) -> None:
        table = json.loads(published["graph"])
        self.nodes = {node["name"]: node for node in table["modelTopology"]["node"]}
        self.weights: dict[str, npt.NDArray[Any]] = {}
        offset = 0
        for spec in table["weightsManifest"][0]["weights"]:
            kind = {"float32": "<f4", "int32": "<i4"}[spec["dtype"]]
            count = int(np.prod(spec["shape"]))
            values = np.frombuffer(published["weights"], kind, count, offset).reshape(spec["shape"])
            if has_half_weights and values.ndim == 4:
                values = values.astype(np.float16).astype(np.float32)
            self.weights[spec["name"]] = values
            offset += values.size * 4

    def run(self, picture: Floats) -> Floats:
        done: dict[str, Any] = {"img_inputs": (picture - np.float32(127.5)) / np.float32(128), **self.weights}
        for name, node in self.nodes.items():  # the file lists them in an order that can be executed
            if name not in done:
                done[name] = self.evaluate(node, [done[source] for source in node["input"]])
        result: Floats = done["embeddings"][0]
        return result

    def evaluate(self, node: dict[str, Any], x: list[Any]) -> Any:
        is_bare = node["op"] == "Add" and node["input"][0].endswith("SeparableConv2d/depthwise")
        results = {
            "_FusedConv2D": lambda: np.tensordot(windows(x[0], node, x[1].shape[0]), x[1],
                                                 axes=([4, 5, 3], [0, 1, 2])) + x[2],
            "FusedDepthwiseConv2dNative": lambda: np.einsum("bhwcij,ijc->bhwc", windows(x[0], node, x[1].shape[0]),
                                                            x[1][..., 0]) + x[2],
            "Sub": lambda: x[1] - x[0],
            "Add": lambda: (np.maximum(x[0], 0) if is_bare else x[0]) + x[1],
            "Relu": lambda: np.maximum(x[0], 0), "Abs": lambda: np.abs(x[0]), "Mul": lambda: x[0] * x[1],
            "Squeeze": lambda: x[0][:, 0, 0], "Square": lambda: x[0] * x[0],
            "Sum": lambda: x[0].sum(axis=-1, keepdims=True), "Maximum": lambda: np.maximum(x[0], x[1]),
            "Rsqrt": lambda: 1 / np.sqrt(x[0]),
        }
        return results[node["op"]]()


def windows(x: Floats, node: dict[str, Any], kernel: int) -> Any:
    stride = int(node["attr"]["strides"]["list"]["i"][1])
    if base64.b64decode(node["attr"]["padding"]["s"]) == b"SAME":
        short = max((-(-x.shape[1] // stride) - 1) * stride + kernel - x.shape[1], 0)
        sides = (short // 2, short - short // 2)
        x = np.pad(x, ((0, 0), sides, sides, (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]


def test_mobilefacenet_equals_the_repaired_graph_in_numpy(
        published: dict[str, bytes], portrait: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    pictures = chips(112, portrait)
    converted = mobilefacenet.convert(published["graph"], published["weights"], has_half_weights=False)
    graph = NumpyGraph(published, has_half_weights=False)
    for picture, vector in zip(pictures, run_bytes(converted, pictures, tmp_path), strict=True):
        assert np.abs(graph.run(picture) - vector).max() <= 1e-5


def test_the_packed_mobilefacenet_equals_the_graph_with_its_rounded_weights(
        published: dict[str, bytes], pack: Card, portrait: npt.NDArray[np.uint8]) -> None:
    graph, network = NumpyGraph(published, has_half_weights=True), Network(pack.path("recogniser"))
    for picture in chips(112, portrait)[:2]:
        assert np.abs(graph.run(picture) - network.run(picture)[0][0]).max() <= 1e-5


def test_half_weights_turn_a_vector_by_less_than_a_thousandth(
        published: dict[str, bytes], pack: Card, portrait: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    pictures = chips(112, portrait)[:3]
    exact = mobilefacenet.convert(published["graph"], published["weights"], has_half_weights=False)
    network = Network(pack.path("recogniser"))
    for picture, vector in zip(pictures, run_bytes(exact, pictures, tmp_path), strict=True):
        assert network.run(picture)[0][0] @ vector > 0.99999


def test_exactly_16_fused_and_17_separate_prelus_are_repaired(published: dict[str, bytes]) -> None:
    found = mobilefacenet.repairs(tfjs.read_graph_model(published["graph"], published["weights"]))
    fused = [repair for repair in found.values() if repair.is_fused]
    assert (len(fused), len(found) - len(fused)) == (16, 17)
    assert all(repair.source.endswith("SeparableConv2d/depthwise") for repair in fused)


def test_a_graph_that_is_whole_already_is_refused(published: dict[str, bytes]) -> None:
    table = json.loads(published["graph"])
    node = next(node for node in table["modelTopology"]["node"] if node["name"].endswith("SeparableConv2d/depthwise"))
    node["attr"]["fused_ops"]["list"]["s"] = node["attr"]["fused_ops"]["list"]["s"][:1]
    with pytest.raises(ModelMismatch, match="neither form"):
        mobilefacenet.convert(json.dumps(table).encode(), published["weights"])


def test_a_graph_with_one_prelu_less_is_refused(published: dict[str, bytes]) -> None:
    table = json.loads(published["graph"])
    node = next(node for node in table["modelTopology"]["node"] if node["op"] == "Abs")
    node["op"] = "Relu"
    with pytest.raises(ModelMismatch, match="16 and 17"):
        mobilefacenet.convert(json.dumps(table).encode(), published["weights"])


def test_weights_of_another_length_are_refused(published: dict[str, bytes]) -> None:
    for weights in (published["weights"][:-4], published["weights"] + bytes(4), b""):
        with pytest.raises(ModelMismatch, match="belong together"):
            mobilefacenet.convert(published["graph"], weights)


@pytest.mark.parametrize("damage", [
    b"", b"{", b"[]", b"null", b'{"modelTopology": {"node": [{"op": "Add"}]}}', b"[" * 100_000, b"\xff\xfe",
])
def test_a_damaged_graph_is_refused_in_one_line(published: dict[str, bytes], damage: bytes) -> None:
    with pytest.raises(ModelMismatch) as refusal:
        mobilefacenet.convert(damage, published["weights"])
    assert "\n" not in str(refusal.value)


def test_a_graph_with_a_node_missing_or_in_a_circle_is_refused(published: dict[str, bytes]) -> None:
    table = json.loads(published["graph"])
    nodes = table["modelTopology"]["node"]
    conv = next(node for node in nodes if node["name"].endswith("Conv2d_7/BatchNorm/FusedBatchNorm"))
    for source in ("nowhere", "embeddings"):
        conv["input"][0] = source
        with pytest.raises(ModelMismatch):
            mobilefacenet.convert(json.dumps(table).encode(), published["weights"])


# --- dlib ---


def test_dlib_resnet_equals_dlib_itself(dat: bytes, dlib_pack: Card, portrait: npt.NDArray[np.uint8],
                                        tmp_path: Path) -> None:
    import dlib

    path = tmp_path / "resnet.dat"
    path.write_bytes(dat)
    original, network = dlib.face_recognition_model_v1(str(path)), Network(dlib_pack.path("recogniser"))
    for picture in chips(150, portrait):
        expected = np.array(original.compute_face_descriptor(picture[0].astype(np.uint8)))
        assert np.abs(network.run(picture)[0][0] - expected).max() <= 1e-5


def test_dlib_resnet_with_half_weights_stays_close(dat: bytes, dlib_pack: Card, portrait: npt.NDArray[np.uint8],
                                                   tmp_path: Path) -> None:
    pictures = chips(150, portrait)
    half = dlib_resnet.convert(dat, has_half_weights=True)
    assert len(half) < 0.51 * dlib_pack.path("recogniser").stat().st_size
    network = Network(dlib_pack.path("recogniser"))
    for picture, vector in zip(pictures, run_bytes(half, pictures, tmp_path), strict=True):
        assert np.abs(network.run(picture)[0][0] - vector).max() < 1e-3


def test_every_truncation_of_a_dat_is_refused(dat: bytes) -> None:
    places = [*range(0, 400, 7), 19_000, 100_000, len(dat) // 2, len(dat) - 1]
    for place in places:
        with pytest.raises(ModelMismatch, match="near byte"):
            dlib_resnet.convert(dat[:place])


def test_a_dat_with_bytes_left_over_is_refused(dat: bytes) -> None:
    with pytest.raises(ModelMismatch, match="1 bytes too many"):
        dlib_resnet.convert(dat + b"0")


def test_changed_bytes_in_a_dats_structure_never_end_in_anything_but_a_refusal(dat: bytes) -> None:
    refused = 0
    for place in range(0, 350, 5):
        altered = bytearray(dat)
        altered[place] ^= 0x5A
        try:
            dlib_resnet.convert(bytes(altered))
        except ModelMismatch:
            refused += 1
    assert refused > 60  # only the three mean colours and the training margin may take other values


def test_weights_that_are_not_finite_are_refused(dat: bytes) -> None:
    altered = bytearray(dat)
    altered[0x160:0x164] = np.float32(np.nan).tobytes()
    with pytest.raises(ModelMismatch, match="not finite"):
        dlib_resnet.convert(bytes(altered))


def test_a_file_of_another_kind_is_no_dat() -> None:
    for data in (b"", b"\x01\x01", b"\x89PNG\r\n", b"\x01\x01" + b"\x08" * 64, b"\x01\x01\x08" + b"\xff" * 64):
        with pytest.raises(ModelMismatch, match="not a dlib"):
            dlib_resnet.convert(data)


# --- the writer ---


def test_a_written_network_computes_what_its_layers_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    writer = GraphWriter("small", (1, 6, 6, 3))
    weights, bias = rng.normal(size=(4, 3, 3, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    x = writer.conv(writer.input, weights, bias, stride=2, padding="VALID", is_relu=True)
    x = writer.pad(writer.pool(x, "max", 2, 1), ((0, 0), (0, 0), (0, 0), (0, 1)))
    dense = rng.normal(size=(2, 5)).astype(np.float32)
    network = writer.finish(writer.dense(writer.reshape(x, (1, 5)), dense))
    picture = rng.normal(size=(1, 6, 6, 3)).astype(np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(picture[0], (3, 3), axis=(0, 1))[::2, ::2]
    hidden = np.maximum(np.einsum("hwcij,oijc->hwo", patches, weights) + bias, 0).max(axis=(0, 1))
    vector = run_bytes(network, [picture], tmp_path)[0]
    assert np.allclose(vector, dense[:, :4] @ hidden, atol=1e-5)


def test_layers_that_do_not_fit_are_refused_while_the_graph_is_written() -> None:
    writer = GraphWriter("small", (1, 6, 6, 3))
    with pytest.raises(ModelMismatch, match="conv layer does not fit"):
        writer.conv(writer.input, np.zeros((4, 3, 3, 2), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ModelMismatch, match="reshape"):
        writer.reshape(writer.input, (1, 5))
