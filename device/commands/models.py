"""`doorctl models`: build, list, verify, add and choose model packs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device.clock import SystemClock
from device.commands.console import say, say_json
from device.errors import ModelMismatch
from device.face.card import Card, read_card
from device.face.kernel_choice import commission, is_commissioned
from device.packs import addition, build, cache, fetch, library, liveness, weights
from device.packs.recipes import RECIPES


def add_parser(commands: Any) -> None:
    """Adds `models` with its five verbs."""
    parser = commands.add_parser("models", help="build, list, verify, add and choose model packs",
                                 epilog="example: doorctl models build")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_build(verbs)
    _add_list(verbs)
    _add_verify(verbs)
    _add_add(verbs)
    _add_use(verbs)


def run_build(arguments: argparse.Namespace) -> int:
    """Builds the named pack, else the one in use; quick where it is there and intact."""
    name = arguments.pack or library.chosen()
    was_built, had_networks = _is_whole(name), _has_networks(name)
    if not was_built and not arguments.json:
        say(f"building the model pack {name}; what it is made of, up to 180 MB, is fetched once")
    if not had_networks:
        _obtain_weights()
    card, note = (build.build(arguments.pack), "") if arguments.pack else library.build_usable()
    _commission(card)
    if arguments.json:
        say_json({**_document(card), "was_built": was_built, "has_liveness": liveness.has_networks(card),
                  "note": note})
        return 0
    if note:
        say(note)
    has_gained = was_built and not had_networks and liveness.has_networks(card)
    if has_gained or not (was_built and arguments.quiet_if_built):
        done = "now has passive liveness networks" if has_gained else "was there" if was_built else "built"
        say(f"{card.model_id} {done}: {card.folder}")
    return 0


def _commission(card: Card) -> None:
    """Have the search's kernel compiled and chosen for templates of that size, where that was not done here yet."""
    folder, dimensions = cache.cache_folder(), card.recogniser.dimensions
    if not is_commissioned(folder, dimensions):
        commission(folder, dimensions, SystemClock())


def _is_whole(name: str) -> bool:
    return name not in RECIPES or build.is_built(name)


def _has_networks(name: str) -> bool:
    return _is_whole(name) and liveness.has_networks(read_card(library.folder_of(name)))


def _obtain_weights() -> None:
    """Downloads the liveness networks' weights where they are not here; one line on stderr where that fails."""
    try:
        weights.obtain()
    except (fetch.FetchFailed, ModelMismatch) as error:
        sys.stderr.write(f"doorctl: {weights.note(error)}\n")


def run_list(arguments: argparse.Namespace) -> int:
    """Every pack that is built or can be."""
    entries = library.entries()
    if arguments.json:
        say_json([asdict(entry) for entry in entries])
        return 0
    for entry in entries:
        mark = "*" if entry.is_chosen else " "
        say(f"{mark} {entry.name:<16} {entry.state:<10} {entry.model_id or '-':<32} {_about(entry)}")
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Hashes, known vectors and model_id of one pack, or of every built one and of the one in use; 1 where one is
    not sound."""
    entries = library.entries()
    if not arguments.name and all(entry.state == "not built" for entry in entries):
        raise ModelMismatch("no pack is built; build one with `doorctl models build`")
    names = [arguments.name] if arguments.name else [
        entry.name for entry in entries if entry.state != "not built" or entry.is_chosen]
    rows = [_verified(name) for name in names]
    if arguments.json:
        say_json(rows)
    for row in () if arguments.json else rows:
        networks = "with" if row["has_liveness"] else "without"
        sound = f"sound, {row['model_id']}, {networks} passive liveness networks"
        say(f"{row['name']}: {sound if row['is_sound'] else row['fault']}")
    return 0 if all(row["is_sound"] for row in rows) else 1


def run_add(arguments: argparse.Namespace) -> int:
    """Makes a pack of a recogniser file."""
    card = addition.add(arguments.file, arguments.name, arguments.card)
    if arguments.json:
        say_json(_document(card))
        return 0
    say(f"{card.model_id} added: {card.folder}")
    say(f"It has no operating points yet; measure them with `doorctl evaluate calibrate --pack {card.name}`, then "
        f"`doorctl models use {card.name}`.")
    return 0


def run_use(arguments: argparse.Namespace) -> int:
    """Chooses the pack that the terminal uses from its next start on."""
    card = library.use(arguments.name)
    _commission(card)
    if arguments.json:
        say_json(_document(card))
        return 0
    say(f"{card.model_id} is in use from the next start on; people enrolled under another model must be enrolled "
        "again.")
    return 0


def _about(entry: library.Entry) -> str:
    if entry.state != "built":
        return entry.fault or entry.summary
    return f"{entry.summary}; {'with' if entry.has_liveness else 'NO'} passive liveness networks"


def _document(card: Card) -> dict[str, Any]:
    return {"name": card.name, "model_id": card.model_id, "folder": str(card.folder)}


def _verified(name: str) -> dict[str, Any]:
    try:
        card = library.verify(name)
    except ModelMismatch as error:
        return {"name": name, "is_sound": False, "model_id": "", "has_liveness": False,
                "fault": str(error)}
    return {"name": name, "is_sound": True, "model_id": card.model_id,
            "has_liveness": liveness.has_networks(card), "fault": ""}


def _add_build(verbs: Any) -> None:
    parser = verbs.add_parser("build", help="fetch, convert and test a pack; nothing to do where it is there",
                              epilog="example: doorctl models build --pack dlib")
    parser.add_argument("--pack", choices=tuple(RECIPES), help="which one (default: the one in use)")
    parser.add_argument("--quiet-if-built", action="store_true", help="say nothing where there is nothing to do")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run_build)


def _add_list(verbs: Any) -> None:
    parser = verbs.add_parser("list", help="packs of this machine; * marks the one in use",
                              epilog="example: doorctl models list --json")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run_list)


def _add_verify(verbs: Any) -> None:
    parser = verbs.add_parser("verify", help="check hashes and known vectors",
                              epilog="example: doorctl models verify mobilefacenet")
    parser.add_argument("name", nargs="?", help="which pack (default: every built one)")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run_verify)


def _add_add(verbs: Any) -> None:
    parser = verbs.add_parser("add", help="make a pack of a dlib .dat or a 112×112 five-point .tflite file",
                              epilog="example: doorctl models add our.tflite --name ours --card our.toml")
    parser.add_argument("file", type=Path, help="the recogniser")
    parser.add_argument("--name", required=True, help="the new pack's name")
    parser.add_argument("--card", type=Path, help="TOML: licence, origin, training_data; see device/packs/README.md")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run_add)


def _add_use(verbs: Any) -> None:
    parser = verbs.add_parser("use", help="choose the pack in use", epilog="example: doorctl models use dlib")
    parser.add_argument("name", help="a built pack")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run_use)
