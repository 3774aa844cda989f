"""Tries a network that somebody brought, in a process of its own.

A TFLite file is a program: a hostile or damaged one may crash the runtime, run for ever or ask for all memory. The
child reads, normalises and runs it under limits; the parent (`packs.addition`) gets numbers or one clear line.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch, TerminalError
from device.face.runtime import Network, runtime_name
from device.packs import flatbuffer, selftest

Floats = npt.NDArray[np.float32]

MOST_BYTES = 256 << 20
_LIMIT_S = 60
_MEMORY = 6 << 30


@dataclass(frozen=True, slots=True)
class Input:
    """What a network wants of a pixel 0..255: value·scale + offset per channel, in this order of channels."""

    order: str = "RGB"
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_plain(self) -> bool:
        """Whether the network takes RGB 0..255 as it is."""
        return self == Input()


def run_apart(source: Path, target: Path, wanted: Input, size: int, label: str) -> Floats:
    """The vector that the network at `source` gives for the chip of `packs.selftest`.

    `target` is then the network that takes RGB 0..255. ModelMismatch, beginning with `label`, where it is not a
    recogniser of size×size pictures, or where what it gives is no vector.
    """
    order = {"order": wanted.order, "scale": wanted.scale, "offset": wanted.offset, "size": size}
    command = [sys.executable, "-m", "device.packs.trial", str(source), str(target), json.dumps(order)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=False,
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise ModelMismatch(f"{label} takes more than {_LIMIT_S} s for three pictures; bring a smaller "
                            "one") from None
    try:
        answer = json.loads(done.stdout.decode("utf-8").splitlines()[-1])
        fault, values = str(answer.get("fault", "")), answer.get("values", [])
    except (ValueError, IndexError, AttributeError):
        raise ModelMismatch(f"{label} crashes the inference runtime; it is damaged or not a TFLite file") from None
    if fault:
        raise ModelMismatch(f"{label}: {fault}")
    return np.array(values, np.float32)


def examine(source: Path, target: Path, wanted: Input, size: int) -> Floats:
    """What the child does; raises ModelMismatch for every reason to refuse."""
    data = source.read_bytes()
    if data[4:8] != b"TFL3":
        raise ModelMismatch("not a TFLite file")
    target.write_bytes(data if wanted.is_plain else flatbuffer.with_input(data, wanted.scale, wanted.offset,
                                                                          wanted.order == "BGR"))
    network = _load(target)
    if network.input_shape != (1, size, size, 3) or len(network.output_shapes) != 1:
        raise ModelMismatch(f"it takes {network.input_shape} and has {len(network.output_shapes)} outputs; wanted is "
                            f"one picture (1, {size}, {size}, 3) and one vector")
    chip = selftest.chip(size, size)
    flipped, black = np.ascontiguousarray(chip[:, :, ::-1]), np.zeros_like(chip)
    vectors: list[Floats] = [network.run(each)[0].reshape(-1).copy() for each in (chip, flipped, black)]
    _check_vectors(vectors)
    return vectors[0]


def _load(path: Path) -> Network:
    try:
        return Network(path)
    except ModelMismatch:
        raise ModelMismatch(f"{runtime_name()} cannot load it; it must be a whole TFLite network of built-in "
                            "operations with one float32 input") from None


def _check_vectors(vectors: list[Floats]) -> None:
    count = vectors[0].size
    if not 32 <= count <= selftest.MOST_VALUES or vectors[0].dtype != np.float32:
        raise ModelMismatch(f"it gives {count} values of {vectors[0].dtype}; wanted are 32 to {selftest.MOST_VALUES} "
                            "of float32")
    if not all(np.isfinite(vector).all() for vector in vectors):
        raise ModelMismatch("it gives values that are not finite")
    lengths = [float(np.linalg.norm(vector)) for vector in vectors[:2]]
    if min(lengths) < 1e-6 or float(vectors[0] @ vectors[1]) > 0.99999 * lengths[0] * lengths[1]:
        raise ModelMismatch("it gives the same vector for different pictures, or none at all")


def _limit_self() -> None:
    for what, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, _LIMIT_S), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(what)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))


def main(arguments: list[str]) -> int:
    """One JSON line on stdout: {"values": [...]} or {"fault": "..."}."""
    _limit_self()
    source, target, table = Path(arguments[0]), Path(arguments[1]), json.loads(arguments[2])
    wanted = Input(table["order"], tuple(table["scale"]), tuple(table["offset"]))
    try:
        answer: dict[str, object] = {"values": examine(source, target, wanted, table["size"]).tolist()}
    except TerminalError as error:
        answer = {"fault": str(error)}
    except Exception as error:
        # Whatever a hostile file provokes in the parser or the runtime ends here, in one line.
        answer = {"fault": f"cannot be read or run ({type(error).__name__})"}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
