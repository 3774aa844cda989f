"""Adds a recogniser that somebody brings: a dlib .dat of the known architecture, or a five-point TFLite network.

The file and the card beside it are hostile until proven: sizes, shapes and values are checked, the network is tried
in a process of its own, and its vector for the fixed chip is written into the card at that moment.

The card to bring is TOML: `licence`, `origin` and `training_data` (say plainly what is not known), if wanted
`summary` and `mirror` ("unit" or "raw"), and for TFLite `[input]` with `order` ("RGB" or "BGR"), `scale` and `offset`
(a number or one per channel): what the network takes is pixel·scale + offset.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.errors import ModelMismatch, UsageError
from device.face.card import Card, read_card
from device.packs import archives, build, cache, cardfile, dlib_resnet, library, liveness, selftest, trial
from device.packs.cardfile import Table
from device.packs.recipes import FINDERS, RECIPES

_NOT_STATED = "not stated by whoever added it"
_KEYS = {"summary": str, "licence": str, "origin": str, "training_data": str, "mirror": str, "input": dict}


@dataclass(frozen=True, slots=True)
class _Bringing:
    """The card that came with the file, parsed."""

    summary: str
    licence: str
    origin: str
    training_data: str
    mirror: str
    input: trial.Input


def add(source: Path, name: str, card: Path | None = None) -> Card:
    """A pack of its own called `name`, with the detectors and mesh of the packs that ship.

    UsageError for a name that is taken or a card that lacks something; ModelMismatch for a file that is not what it
    must be. It has no operating points until `doorctl evaluate calibrate` has measured them.
    """
    folder = library.folder_of(name)
    if name in RECIPES or folder.exists():
        raise UsageError(f"there is a pack {name} already; choose another name with --name")
    if source.suffix not in (".dat", ".tflite"):
        raise UsageError(f"{source} is neither a dlib .dat nor a .tflite file")
    is_dat = source.suffix == ".dat"
    if card is None and not is_dat:
        raise UsageError(f"{source} needs a card: --card FILE with licence, origin and training_data")
    brought = _read_brought(card, is_dat)
    _check_size(source)
    with cache.builder_lock(folder.parent):
        with cache.replacing(folder) as fresh:
            table = _assemble(source, name, brought, is_dat, fresh)
            cardfile.write_table(fresh / "card.toml", table)
            selftest.check(read_card(fresh))
        return liveness.complete(folder)


def _assemble(source: Path, name: str, brought: _Bringing, is_dat: bool, fresh: Path) -> Table:
    """Writes the networks into `fresh`; the card that describes them."""
    template = RECIPES["dlib" if is_dat else "mobilefacenet"].template()
    data = source.read_bytes()
    target = fresh / f"{name}.tflite"
    with cache.scratch(fresh) as work:
        plain = work / "plain.tflite"
        plain.write_bytes(_from_dat(data, source) if is_dat else data)
        vector = trial.run_apart(plain, target, brought.input, template["recogniser"]["size"], str(source))
    files = [*_finders(template, fresh), {
        "role": "recogniser", "name": target.name, "sha256": archives.sha256_of(target), "licence": brought.licence,
        "origin": brought.origin, "training_data": brought.training_data}]
    recogniser = {
        **template["recogniser"], "source_sha256": [hashlib.sha256(data).hexdigest()], "mirror": brought.mirror,
        "dimensions": vector.size, "input_order": brought.input.order, "input_scale": list(brought.input.scale),
        "input_offset": list(brought.input.offset)}
    known = {"role": "recogniser", "tolerance": 1e-3 * max(1.0, float(abs(vector).max())),
             "values": [round(float(value), 6) for value in vector]}
    vectors = [entry for entry in template["known_vector"] if entry["role"] != "recogniser"]
    return {"name": name, "model_id": cardfile.model_id(name, recogniser),
            "summary": brought.summary or f"MediaPipe detectors, mesh and iris; {source.name}, {vector.size} values",
            "file": files, "recogniser": recogniser, "known_vector": [*vectors, known]}


def _from_dat(data: bytes, source: Path) -> bytes:
    try:
        return dlib_resnet.convert(data)
    except ModelMismatch as error:
        raise ModelMismatch(f"{source}: {error}") from None


def _finders(template: Table, fresh: Path) -> list[Table]:
    """Detectors, mesh and iris, copied from a built pack where there is one, else out of their archive."""
    files = [file for file in template["file"] if file["role"] in FINDERS]
    built = next((name for name in RECIPES if build.is_built(name)), None)
    contents = {} if built else archives.read_members(archives.MEDIAPIPE, FINDERS)
    for file in files:
        target = fresh / file["name"]
        if built:
            shutil.copyfile(library.folder_of(built) / file["name"], target)
        else:
            target.write_bytes(contents[file["role"]])
    return files


def _check_size(source: Path) -> None:
    try:
        size = source.stat().st_size if source.is_file() else -1
    except OSError as error:
        raise UsageError(f"{source} cannot be read ({error.strerror})") from None
    if size < 0:
        raise UsageError(f"{source}: no such file")
    if not 1024 <= size <= trial.MOST_BYTES:
        raise ModelMismatch(f"{source} has {size} bytes; a recogniser has 1 kB to {trial.MOST_BYTES >> 20} MB")


def _read_brought(path: Path | None, is_dat: bool) -> _Bringing:
    plain = dict.fromkeys(("licence", "origin", "training_data"), _NOT_STATED)
    table: Table = _read_table(path) if path else dict(plain)
    where = str(path)
    for key, value in table.items():
        if not isinstance(value, _KEYS.get(key, type(None))) or (is_dat and key == "input"):
            raise UsageError(f"{where}: {key} is not a key of a card to add, or of the wrong kind; it may have "
                             f"{', '.join(_KEYS)}")
    for key in plain:
        if not table.get(key):
            raise UsageError(f"{where}: {key} is missing; say plainly what is known, and what is not")
    mirror = table.get("mirror", "raw" if is_dat else "unit")
    if mirror not in ("unit", "raw"):
        raise UsageError(f"{where}: mirror must be \"unit\" or \"raw\"")
    return _Bringing(table.get("summary", ""), table["licence"], table["origin"], table["training_data"], mirror,
                     _read_input(table.get("input", {}), where))


def _read_table(path: Path) -> Table:
    try:
        return cardfile.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a card ({error})") from None


def _read_input(table: Table, where: str) -> trial.Input:
    if unknown := set(table) - {"order", "scale", "offset"}:
        raise UsageError(f"{where}: unknown key input.{min(unknown)}; it may have order, scale and offset")
    order = table.get("order", "RGB")
    if order not in ("RGB", "BGR"):
        raise UsageError(f"{where}: input.order must be \"RGB\" or \"BGR\"")
    return trial.Input(order, _three(table.get("scale", 1.0), f"{where}: input.scale"),
                       _three(table.get("offset", 0.0), f"{where}: input.offset"))


def _three(value: Any, what: str) -> tuple[float, float, float]:
    values = value if isinstance(value, list) else [value] * 3
    is_fit = [type(each) in (int, float) and abs(each) <= 1e4 for each in values]
    if len(values) != 3 or not all(is_fit):
        raise UsageError(f"{what} must be a number or three, between -10000 and 10000")
    return float(values[0]), float(values[1]), float(values[2])
