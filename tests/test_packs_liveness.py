"""The liveness networks of a pack: read without pickle, converted, fetched, and left out where they cannot be had."""

from __future__ import annotations

import collections
import http.server
import io
import pickle
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from test_command_models import doorctl

from device.errors import ModelMismatch
from device.face.card import Card, read_card
from device.face.runtime import Network
from device.packs import build, cardfile, library, liveness, minifasnet, selftest, torch_pth, weights
from device.packs.fetch import FetchFailed

Floats = npt.NDArray[np.float64]


# --- the reader ---


class FloatStorage:
    """Written into a test's file under torch's name."""


class Stored:
    def __init__(self, key: str, count: int) -> None:
        self.key, self.count = key, count


class Writer(pickle._Pickler):
    """Writes the pickles of a .pth as torch does, with Python's own pickler."""

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", FloatStorage, obj.key, "cpu", obj.count, None) if isinstance(obj, Stored) else None


class Tensor:
    def __init__(self, key: str, shape: tuple[int, ...], strides: tuple[int, ...], count: int,
                 offset: int = 0) -> None:
        self.stored, self.shape, self.strides, self.offset = Stored(key, count), shape, strides, offset

    def __reduce__(self) -> Any:
        return rebuild, (self.stored, self.offset, self.shape, self.strides, False, collections.OrderedDict())


def rebuild(*arguments: object) -> None:
    """Named torch._utils._rebuild_tensor_v2 in the file."""


def pth(state: Any, keys: Any, values: dict[str, list[float]], tail: bytes = b"", magic: int = 0) -> bytes:
    stream = io.BytesIO()
    for value in (magic or 0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state, keys):
        Writer(stream, protocol=2).dump(value)
    for key in keys if isinstance(keys, list) else []:
        numbers = values.get(key, [])
        stream.write(struct.pack("<q", len(numbers)) + struct.pack(f"<{len(numbers)}f", *numbers))
    return (stream.getvalue() + tail).replace(
        f"c{__name__}\nFloatStorage\n".encode(), b"ctorch\nFloatStorage\n").replace(
        f"c{__name__}\nrebuild\n".encode(), b"ctorch._utils\n_rebuild_tensor_v2\n")


def state_of(**tensors: Tensor) -> Any:
    return collections.OrderedDict(tensors)


SMALL = {"1": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}


def test_a_small_file_is_read() -> None:
    state = torch_pth.read_state(pth(state_of(w=Tensor("1", (2, 3), (3, 1), 6)), ["1"], SMALL))
    assert list(state) == ["w"]
    assert state["w"].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("run",)


@pytest.mark.parametrize(("data", "why"), [
    (b"", "the file ends"),
    (b"PK\x03\x04" * 100, "instruction"),
    (pth(state_of(), [], {}, magic=7), "older format"),
    (pth(Harmful(), [], {}), "not needed for weights"),
    (pth(state_of(w=Tensor("1", (2, 3), (1, 2), 6)), ["1"], SMALL), "in order"),
    (pth(state_of(w=Tensor("1", (7,), (1,), 6)), ["1"], SMALL), "whole of its storage"),
    (pth(state_of(w=Tensor("1", (5,), (1,), 6, 1)), ["1"], SMALL), "whole of its storage"),
    (pth(state_of(w=Tensor("1", (6,), (1,), 6), v=Tensor("1", (6,), (1,), 6)), ["1"], SMALL), "share"),
    (pth(state_of(w=Tensor("1", (6,), (1,), 6)), ["2"], {"2": SMALL["1"]}), "keys"),
    (pth(state_of(w=Tensor("1", (6,), (1,), 6)), ["1", "1"], SMALL), "keys"),
    (pth(state_of(w=Tensor("1", (9,), (1,), 9)), ["1"], SMALL), "another length"),
    (pth(state_of(w=Tensor("1", (6,), (1,), 6)), ["1"], SMALL, tail=b"x"), "1 bytes too many"),
    (pth(state_of(w=Tensor("1", (2,), (1,), 2)), ["1"], {"1": [1.0, float("nan")]}), "not finite"),
    (pth(state_of(w=3), ["1"], SMALL), "not all tensors"),  # type: ignore[arg-type]
    (pth(state_of(w=Tensor("1", (-6,), (1,), 6)), ["1"], SMALL), "none"),
    (b"\x80\x02" + b"(" * 300_000, "instructions"),
    (b"\x80\x02r\xff\xff\xff\xff.", "too few values"),
    (b"\x80\x02j\xff\xff\xff\xff.", "reference to nothing"),
    (b"\x80\x02X\xff\xff\xff\xff", "the file ends"),
    (b"\x80\x02t.", "without a beginning"),
    (b"\x80\x02cos\nsystem\n.", "not needed for weights"),
    (b"\x80\x04.", "another pickle protocol"),
])
def test_what_is_no_file_of_plain_weights_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ModelMismatch, match=why):
        torch_pth.read_state(data)


def test_a_file_damaged_anywhere_is_read_or_refused_and_never_more(capsys: pytest.CaptureFixture[str]) -> None:
    whole = pth(state_of(w=Tensor("1", (2, 3), (3, 1), 6)), ["1"], SMALL)
    rng = np.random.default_rng(3)
    for _ in range(3000):
        data = bytearray(whole[:int(rng.integers(1, len(whole) + 1))])
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        try:
            torch_pth.read_state(bytes(data))
        except ModelMismatch as error:
            assert "\n" not in str(error)
    assert capsys.readouterr().out == ""


# --- the conversion, against the network evaluated in numpy as torch defines it ---


class Restricted(pickle.Unpickler):
    """Another reader of the same file: Python's pickle, with names for torch's."""

    def find_class(self, module: str, name: str) -> Any:
        return {"OrderedDict": collections.OrderedDict, "FloatStorage": "<f4", "LongStorage": "<i8",
                "_rebuild_tensor_v2": lambda stored, _, shape, *rest: (stored[2], stored[1], shape)}[name]

    def persistent_load(self, pid: Any) -> Any:
        return pid


class NumpyNet:
    """MiniFASNet layer by layer: nothing folded, padding as torch pads."""

    def __init__(self, data: bytes) -> None:
        stream = io.BytesIO(data)
        for _ in range(3):
            Restricted(stream).load()
        state, keys = Restricted(stream).load(), Restricted(stream).load()
        kinds = {key: kind for key, kind, _ in state.values()}
        raw = {}
        for key in keys:
            count = struct.unpack("<q", stream.read(8))[0]
            raw[key] = np.frombuffer(stream.read(count * int(kinds[key][2])), kinds[key])
        self.w = {name[7:]: raw[key].reshape(shape).astype(np.float64) for name, (key, _, shape) in state.items()}

    def conv(self, x: Floats, name: str, stride: int = 1, pad: int = 0) -> Floats:
        kernel = self.w[f"{name}.weight"]
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        seen = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
        result: Floats = (np.einsum("chwij,cij->chw", seen, kernel[:, 0]) if kernel.shape[1] == 1 < x.shape[0]
                          else np.einsum("chwij,ocij->ohw", seen, kernel, optimize=True))
        return result

    def norm(self, x: Floats, name: str) -> Floats:
        scale, offset, mean, var = (self.w[f"{name}.{part}"].reshape(-1, *[1] * (x.ndim - 1))
                                    for part in ("weight", "bias", "running_mean", "running_var"))
        result: Floats = (x - mean) / np.sqrt(var + 1e-5) * scale + offset
        return result

    def block(self, x: Floats, name: str, stride: int = 1, pad: int = 0) -> Floats:
        x = self.norm(self.conv(x, f"{name}.conv", stride, pad), f"{name}.bn")
        slope = self.w[f"{name}.prelu.weight"].reshape(-1, 1, 1)
        return np.maximum(x, 0) + slope * np.minimum(x, 0)

    def unit(self, x: Floats, name: str, stride: int = 1) -> Floats:
        x = self.block(self.block(x, f"{name}.conv"), f"{name}.conv_dw", stride, 1)
        x = self.norm(self.conv(x, f"{name}.project.conv"), f"{name}.project.bn")
        if f"{name}.se_module.fc1.weight" in self.w:
            y = x.mean(axis=(1, 2), keepdims=True)
            y = np.maximum(self.norm(self.conv(y, f"{name}.se_module.fc1"), f"{name}.se_module.bn1"), 0)
            y = self.norm(self.conv(y, f"{name}.se_module.fc2"), f"{name}.se_module.bn2")
            x = x / (1 + np.exp(-y))
        return x

    def run(self, picture: npt.NDArray[np.float32]) -> Floats:
        x = self.block(picture[0].astype(np.float64).transpose(2, 0, 1), "conv1", 2, 1)
        x = self.block(x, "conv2_dw", 1, 1)
        for entrance, stage, count in (("conv_23", "conv_3", 4), ("conv_34", "conv_4", 6), ("conv_45", "conv_5", 2)):
            x = self.unit(x, entrance, 2)
            for index in range(count):
                x = x + self.unit(x, f"{stage}.model.{index}")
        x = self.block(x, "conv_6_sep")
        x = self.norm(self.conv(x, "conv_6_dw.conv"), "conv_6_dw.bn").reshape(-1)
        x = self.w["prob.weight"] @ self.norm(self.w["linear.weight"] @ x, "bn")
        result: Floats = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
        return result


@pytest.mark.parametrize("source", weights.WEIGHTS, ids=lambda each: each.role)
def test_a_converted_network_equals_torchs_definition_in_numpy(
        weights_dir: Path, source: weights.Weights, portrait: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    data = (weights_dir / source.file).read_bytes()
    path = tmp_path / "network.tflite"
    path.write_bytes(minifasnet.convert(data, source.has_attention))
    network, reference = Network(path), NumpyNet(data)
    face = cv2.resize(portrait[20:340, 120:440], (80, 80)).astype(np.float32)[np.newaxis]
    noise = np.random.default_rng(2).integers(0, 256, (1, 80, 80, 3)).astype(np.float32)
    for picture in (selftest.chip(80, 80), face, noise, np.zeros_like(face)):
        assert np.abs(network.run(picture)[0][0] - reference.run(picture)).max() < 1e-5


def test_the_networks_give_their_published_vectors(weights_dir: Path, liveness_pack: Card) -> None:
    for role, values in (("pad_v2", [.44255, .27660, .28085]), ("pad_v1se", [.72883, .21330, .05787])):
        assert np.allclose(Network(liveness_pack.path(role)).run(selftest.chip(80, 80))[0][0], values, atol=2e-5)


def test_swapped_channels_and_swapped_files_are_noticed(weights_dir: Path, liveness_pack: Card) -> None:
    known = {each.role: each for each in liveness_pack.known_vectors}
    for role in liveness.ROLES:
        swapped = np.ascontiguousarray(selftest.chip(80, 80)[..., ::-1])
        found = Network(liveness_pack.path(role)).run(swapped)[0][0]
        assert np.abs(found - np.array(known[role].values)).max() > 10 * known[role].tolerance
    v2, v1se = ((weights_dir / each.file).read_bytes() for each in weights.WEIGHTS)
    for data, has_attention in ((v2, True), (v1se, False)):
        with pytest.raises(ModelMismatch, match="not a MiniFASNet"):
            minifasnet.convert(data, has_attention)


# --- a pack with them, and without ---


@pytest.fixture
def bare_cache(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the default pack as it is built on a machine that cannot have the weights."""
    monkeypatch.delenv("DOOR_WEIGHTS", raising=False)
    archives = own_cache / "archives"
    real = archives.resolve()
    archives.unlink()
    archives.mkdir()
    for path in real.iterdir():
        if path.is_file() and path.suffix != ".pth":
            (archives / path.name).symlink_to(path)
    folder = own_cache / "packs" / "mobilefacenet"
    table = cardfile.read_table(folder / "card.toml")
    for file in table["file"]:
        if file["role"] in liveness.ROLES:
            (folder / file["name"]).unlink()
    for key in ("file", "known_vector"):
        table[key] = [entry for entry in table[key] if entry["role"] not in liveness.ROLES]
    for key in ("passive", "liveness_sha256"):
        table.pop(key, None)
    cardfile.write_table(folder / "card.toml", table)
    return own_cache


def test_a_pack_without_them_is_whole_and_says_so(bare_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doorctl("build", "--quiet-if-built") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "no passive liveness network: 2.7_80x80_MiniFASNetV2.pth cannot be fetched from 127.0.0.1" in said.err
    assert "DOOR_WEIGHTS=FOLDER" in said.err
    assert doorctl("verify") == 0
    assert "without passive liveness networks" in capsys.readouterr().out
    assert library.open_pack().passive is None


def test_a_later_build_adds_them_and_vectors_stay_comparable(
        bare_cache: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    before = build.build()
    monkeypatch.setenv("DOOR_WEIGHTS", str(weights_dir))
    assert doorctl("build", "--quiet-if-built") == 0
    assert "now has passive liveness networks" in capsys.readouterr().out
    card = library.verify("mobilefacenet")
    assert card.model_id == before.model_id
    assert card.path("recogniser").read_bytes()
    assert card.passive is not None
    assert all(file.licence == "Apache-2.0" and "Not stated" in file.training_data
               for file in card.files if file.role in liveness.ROLES)
    assert doorctl("build", "--quiet-if-built") == 0
    assert capsys.readouterr() == ("", "")


def test_they_stay_when_the_weights_are_gone_and_the_cards_template_changes(
        bare_cache: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_WEIGHTS", str(weights_dir))
    build.build()
    monkeypatch.delenv("DOOR_WEIGHTS")
    text = liveness._template_text().replace("threshold = 0.4", "threshold = 0.6")
    monkeypatch.setattr(liveness, "_template_text", lambda: text)
    passive = build.build().passive
    assert passive is not None
    assert passive.threshold == 0.6
    selftest.check(read_card(bare_cache / "packs" / "mobilefacenet"))


def test_an_altered_network_is_named_and_made_anew(
        bare_cache: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_WEIGHTS", str(weights_dir))
    path = build.build().path("pad_v2")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelMismatch, match=r"minifasnet_v2\.tflite was altered"):
        library.open_pack()
    build.build()
    assert library.open_pack().passive is not None


def test_another_file_of_that_name_is_refused(
        bare_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for each in weights.WEIGHTS:
        (folder / each.file).write_bytes(bytes(each.size))
    monkeypatch.setenv("DOOR_WEIGHTS", str(folder))
    assert weights.at_hand() == {}
    with pytest.raises(ModelMismatch, match="is not the pinned"):
        weights.obtain()
    assert doorctl("build") == 0
    assert "is not the pinned" in capsys.readouterr().err


# --- fetching ---


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Serves the files of a folder under the path that they have upstream."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = folder / self.path.rsplit("/", 1)[-1]
            is_there = self.path.startswith("/at/resources/anti_spoof_models/") and path.is_file()
            self.send_response(200 if is_there else 404)
            self.end_headers()
            self.wfile.write(path.read_bytes() if is_there else b"")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}/at"
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def test_they_are_fetched_once_and_kept(
        bare_cache: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(weights_dir) as address:
        monkeypatch.setenv("DOOR_WEIGHTS_URL", address)
        assert doorctl("build") == 0
    assert library.open_pack().passive is not None
    assert len(weights.at_hand()) == 2
    weights.obtain()  # the server is gone, and is not asked


def test_what_the_server_lacks_or_alters_is_one_line(
        bare_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    with server(folder) as address:
        monkeypatch.setenv("DOOR_WEIGHTS_URL", address)
        with pytest.raises(FetchFailed, match="127.0.0.1: the server answers 404"):
            weights.obtain()
        (folder / weights.WEIGHTS[0].file).write_bytes(bytes(weights.WEIGHTS[0].size))
        with pytest.raises(ModelMismatch, match="another SHA-256"):
            weights.obtain()
        (folder / weights.WEIGHTS[0].file).write_bytes(bytes(weights.WEIGHTS[0].size + 200_000))
        with pytest.raises(ModelMismatch, match="another SHA-256"):
            weights.obtain()
    assert not list((bare_cache / "archives").glob("*.pth"))


def test_a_server_that_never_answers_is_given_up(bare_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_LIMIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DOOR_WEIGHTS_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(FetchFailed, match=r"no answer|timed out"):
            weights.obtain()


def test_a_server_that_trickles_is_given_up(bare_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_LIMIT_S", 0.3)
    monkeypatch.setattr(weights, "_BLOCK", 1)
    stop = threading.Event()

    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            while not stop.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        monkeypatch.setenv("DOOR_WEIGHTS_URL", f"http://127.0.0.1:{listener.getsockname()[1]}/")
        try:
            with pytest.raises(FetchFailed, match="too slow"):
                weights.obtain()
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://example.org/", "nonsense"])
def test_only_web_addresses_are_asked(bare_cache: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("DOOR_WEIGHTS_URL", address)
    with pytest.raises(FetchFailed, match="must begin with http"):
        weights.obtain()


def test_an_added_pack_has_them_too(
        own_cache: Path, weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Card) -> None:
    monkeypatch.setenv("DOOR_WEIGHTS", str(weights_dir))
    theirs = tmp_path / "theirs.tflite"
    shutil.copyfile(pack.path("recogniser"), theirs)
    theirs.with_suffix(".toml").write_text('licence = "MIT"\norigin = "a test"\ntraining_data = "none"\n')
    assert doorctl("add", theirs, "--name", "theirs", "--card", theirs.with_suffix(".toml")) == 0
    assert library.verify("theirs").passive is not None
