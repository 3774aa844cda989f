"""A model pack's card: what its files are, where they come from, how to feed them and how often they err.

`card.toml` lies beside the networks. `device.packs` writes it, everything in `device.face` reads it.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.errors import ModelMismatch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True)
class PackFile:
    """One file of a pack. role: detector_short, detector_full, mesh, iris, recogniser, pad_v2, pad_v1se."""

    role: str
    name: str
    sha256: str
    licence: str
    origin: str
    training_data: str


@dataclass(frozen=True, slots=True)
class Recogniser:
    """How the recogniser is fed.

    size          chip side in pixels
    points        names of the alignment landmarks: each a tuple of mesh indices that are averaged
    template_xy   their places in the chip, integer-centre pixel coordinates
    mirror        "unit" = sum of the two unit vectors, "raw" = mean of the two raw vectors; then unit length
    dimensions    D of the template
    """

    size: int
    points: tuple[tuple[int, ...], ...]
    template_xy: tuple[tuple[float, float], ...]
    mirror: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """At cosine `score` the false match rate of one comparison was `fmr`, and the share `tmr` of genuine pairs
    matched; `tmr_95` is its 95 % interval."""

    fmr: float
    score: float
    tmr: float | None = None
    tmr_95: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Population:
    """Measured operating points on one set of people.

    impostor_comparisons  how many it rests on; no rate below 10 / impostor_comparisons is stated
    """

    name: str
    data: str
    command: str
    genuine_comparisons: int
    impostor_comparisons: int
    points: tuple[OperatingPoint, ...]


@dataclass(frozen=True, slots=True)
class KnownVector:
    """What a network must give for the fixed chip of `packs.selftest`, to within `tolerance` per value."""

    role: str
    values: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True, slots=True)
class Passive:
    """The operating point of the passive liveness networks: a score below `threshold` means an attack.

    bona_fide, attacks  how many presentations were measured
    bpcer, apcer        shares of them that were judged wrongly, apcer that of the worst attack species
    """

    threshold: float
    data: str
    command: str
    bona_fide: int
    bpcer: float
    attacks: int
    apcer: float


@dataclass(frozen=True, slots=True)
class Card:
    """One pack, as its card states it; `passive` is there where it has the passive liveness networks."""

    folder: Path
    name: str
    model_id: str
    summary: str
    files: tuple[PackFile, ...]
    recogniser: Recogniser
    known_vectors: tuple[KnownVector, ...]
    populations: tuple[Population, ...]
    passive: Passive | None = None

    def path(self, role: str) -> Path:
        """The file that plays `role`; ModelMismatch where the pack has none."""
        for file in self.files:
            if file.role == role:
                return self.folder / file.name
        raise ModelMismatch(f"pack {self.name} has no {role}; rebuild it with `doorctl models build`")

    def has(self, role: str) -> bool:
        return any(file.role == role for file in self.files)


def read_card(folder: Path) -> Card:
    """The card in `folder`; ModelMismatch, naming the file, where it is missing or not one."""
    path = folder / "card.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return _card(folder, table)
    except FileNotFoundError:
        raise ModelMismatch(f"{path} is missing; build the pack with `doorctl models build`") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, KeyError, TypeError,
            ValueError) as error:
        raise ModelMismatch(f"{path} is not a model card ({error}); rebuild it with `doorctl models build`") from None


def check_files(card: Card) -> None:
    """Every file is there and has the hash that the card states; ModelMismatch names the first that has not."""
    for file in card.files:
        path = card.folder / file.name
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            raise ModelMismatch(f"{path} is missing; rebuild the pack with `doorctl models build`") from None
        if digest != file.sha256:
            raise ModelMismatch(f"{path} was altered; rebuild the pack with `doorctl models build`")


def _card(folder: Path, table: dict[str, Any]) -> Card:
    recogniser = table["recogniser"]
    return Card(
        folder=folder,
        name=str(table["name"]),
        model_id=str(table["model_id"]),
        summary=str(table["summary"]),
        files=tuple(PackFile(**{key: str(file[key]) for key in PackFile.__slots__}) for file in table["file"]),
        recogniser=Recogniser(
            size=int(recogniser["size"]),
            points=tuple(tuple(int(i) for i in point) for point in recogniser["points"]),
            template_xy=tuple((float(x), float(y)) for x, y in recogniser["template_xy"]),
            mirror=str(recogniser["mirror"]),
            dimensions=int(recogniser["dimensions"]),
        ),
        known_vectors=tuple(
            KnownVector(str(v["role"]), tuple(float(x) for x in v["values"]), float(v["tolerance"]))
            for v in table["known_vector"]
        ),
        populations=tuple(_population(p) for p in table.get("population", ())),
        passive=_passive(table["passive"]) if "passive" in table else None,
    )


def _passive(table: dict[str, Any]) -> Passive:
    if not 0.0 < float(table["threshold"]) < 1.0:
        raise ValueError("the threshold of [passive] must lie between 0 and 1")
    return Passive(float(table["threshold"]), str(table["data"]), str(table["command"]), int(table["bona_fide"]),
                   float(table["bpcer"]), int(table["attacks"]), float(table["apcer"]))


def _population(table: dict[str, Any]) -> Population:
    points = tuple(_point(point) for point in table["point"])
    return Population(
        name=str(table["name"]),
        data=str(table["data"]),
        command=str(table["command"]),
        genuine_comparisons=int(table["genuine_comparisons"]),
        impostor_comparisons=int(table["impostor_comparisons"]),
        points=tuple(sorted(points, key=lambda point: -point.fmr)),
    )


def _point(table: dict[str, Any]) -> OperatingPoint:
    low_high = tuple(float(end) for end in table.get("tmr_95", ()))
    if len(low_high) not in (0, 2):
        raise ValueError("tmr_95 of a point must hold two numbers")
    tmr = float(table["tmr"]) if "tmr" in table else None
    return OperatingPoint(float(table["fmr"]), float(table["score"]), tmr,
                          (low_high[0], low_high[1]) if low_high else None)
