"""The test that every pack passes when it is built and at every start.

A fixed chip goes through each network, and what comes out must be the known vector of the card. That catches what no
hash of the file can: a runtime that computes something else, a conversion that went wrong, swapped channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch
from device.face.card import Card, KnownVector, check_files
from device.face.runtime import Network

Floats = npt.NDArray[np.float32]

# What each network expects of a pixel 0..255: x * scale + offset.
_RANGES = {"detector_short": (1 / 127.5, -1.0), "detector_full": (1 / 127.5, -1.0), "mesh": (1 / 255, 0.0),
           "iris": (1 / 255, 0.0)}

# A recogniser's whole vector is known; of the detectors' thousands of values a few from all over are enough.
MOST_VALUES = 512
_SAMPLES = 24


def chip(height: int, width: int) -> Floats:
    """[1, height, width, 3], 0..255: (7·row + 13·column + 29·channel + ⌊row·column/5⌋) mod 256."""
    rows, columns, channels = np.indices((height, width, 3))
    values = (7 * rows + 13 * columns + 29 * channels + rows * columns // 5) % 256
    return np.asarray(values[np.newaxis], np.float32)


def vector_of(network: Network, role: str) -> Floats:
    """What `network` gives for the chip, in the range that its role wants: the outputs joined, largest first.

    Up to 512 values are given whole, of more only 24, evenly spaced.
    """
    _, height, width, _ = network.input_shape
    scale, offset = _RANGES.get(role, (1.0, 0.0))
    outputs = network.run(chip(height, width) * np.float32(scale) + np.float32(offset))
    joined = np.concatenate([output.reshape(-1) for output in sorted(outputs, key=lambda output: -output.size)])
    if joined.size <= MOST_VALUES:
        return joined
    return joined[np.arange(_SAMPLES) * joined.size // _SAMPLES]


def check(card: Card) -> None:
    """Every file has its hash and every network its known vector; ModelMismatch names the file that has not."""
    check_files(card)
    check_vectors(card)


def check_vectors(card: Card) -> None:
    """Every network with a known vector gives it; the recogniser must have one."""
    if all(known.role != "recogniser" for known in card.known_vectors):
        raise ModelMismatch(f"{card.folder / 'card.toml'} states no known vector of the recogniser; rebuild the pack "
                            "with `doorctl models build`")
    for known in card.known_vectors:
        _check_vector(card, known)


def _check_vector(card: Card, known: KnownVector) -> None:
    path = card.path(known.role)
    network = Network(path)
    if len(network.input_shape) != 4 or network.input_shape[0] != 1 or network.input_shape[3] != 3:
        raise ModelMismatch(f"{path} does not take one colour picture, but {network.input_shape}")
    values = vector_of(network, known.role)
    expected = np.array(known.values, np.float32)
    if values.shape != expected.shape:
        raise ModelMismatch(f"{path} gives {values.size} values where its card states {expected.size}; rebuild the "
                            "pack with `doorctl models build`")
    # Written so that NaN fails.
    if not float(np.abs(values - expected).max()) <= known.tolerance:
        raise ModelMismatch(f"{path} does not give its known vector on this machine; rebuild the pack with `doorctl "
                            "models build`, and if that does not help, install another inference runtime")
