"""The packs of this machine: which there are, which one is in use, and whether they are sound."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from device.errors import ModelMismatch, UsageError
from device.face.card import Card, check_files, read_card
from device.face.threshold import threshold_for
from device.packs import build, cache, cardfile, fetch, liveness, selftest
from device.packs.recipes import DEFAULT, RECIPES

FALLBACK = "dlib"

ANY_BUDGET = 1e-3
"""A pack that has operating points gives a threshold for every error budget."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One pack as `doorctl models list` shows it. state: "built", "not built" or "damaged"; fault says why.

    has_liveness  whether it has the passive liveness networks
    """

    name: str
    state: str
    is_chosen: bool
    model_id: str = ""
    summary: str = ""
    has_liveness: bool = False
    populations: tuple[str, ...] = ()
    fault: str = ""


def entries() -> list[Entry]:
    """Every pack that is built or could be, and the one in use if it is neither; every file's hash is checked."""
    names = sorted({*_there(), *RECIPES, chosen()}, key=lambda name: (name != DEFAULT, name))
    return [_entry(name) for name in names]


def chosen() -> str:
    """Name of the pack in use: the one that was chosen last, else the default."""
    try:
        name = _choice().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return DEFAULT
    return name if _NAME.fullmatch(name) else DEFAULT


def use(name: str) -> Card:
    """Choose a pack for good; ModelMismatch where it is not sound or has no operating points, without which no door
    starts, and the choice stays as it was."""
    card = open_pack(name)
    _check_points(card, name)
    cache.write_text(_choice(), name + "\n")
    return card


def open_pack(name: str | None = None) -> Card:
    """The card of a pack that has just passed its self-test; the one in use where no name is given.

    ModelMismatch names the file that is missing, altered or gives other vectors, or the packs that there are.
    """
    name = name or chosen()
    if not (folder_of(name) / "card.toml").exists():
        raise ModelMismatch(_absence(name))
    card = read_card(folder_of(name))
    selftest.check(card)
    return card


def verify(name: str) -> Card:
    """As `open_pack`, and the card's model_id must follow from what the card says."""
    card = open_pack(name)
    table = cardfile.read_table(card.folder / "card.toml")
    if card.model_id != cardfile.model_id(name, table["recogniser"]) or card.name != name:
        raise ModelMismatch(f"{card.folder / 'card.toml'} was altered: its model_id does not follow from what it "
                            "says; rebuild the pack with `doorctl models build`")
    return card


def build_usable() -> tuple[Card, str]:
    """(the pack in use, built where needed; a note where it is not the wanted one, else "").

    Where the default's archive cannot be fetched, dlib's recogniser takes its place and becomes the chosen one.
    """
    name = chosen()
    if name not in RECIPES:
        return _completed(name), ""
    try:
        return build.build(name), ""
    except fetch.FetchFailed as error:
        if name != DEFAULT:
            raise
        try:
            card = build.build(FALLBACK)
        except fetch.FetchFailed:
            raise error from None
        use(FALLBACK)
        return card, (f"{error}. The pack {FALLBACK} is used instead, with higher error rates; once the network "
                      f"allows it: doorctl models build --pack {DEFAULT} && doorctl models use {DEFAULT}")


def _completed(name: str) -> Card:
    """The card of a pack that somebody added, sound, with the liveness networks where their weights are at hand."""
    card = open_pack(name)
    if liveness.is_complete(card.folder):
        return card
    with cache.builder_lock(card.folder.parent):
        return liveness.complete(card.folder)


def folder_of(name: str) -> Path:
    """The pack's folder, whether it exists or not; UsageError for what cannot be a name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a pack's name; take small letters, digits, - and _, at most 31")
    return cache.packs_folder() / name


def _absence(name: str) -> str:
    """Why there is no such pack, and what to do."""
    if name in RECIPES:
        return f"{folder_of(name) / 'card.toml'} is missing; build the pack: `doorctl models build --pack {name}`"
    there = ", ".join(other for other in _there() if _entry(other).state == "built") or "none"
    return f"there is no pack {name} here; there are {there} (`doorctl models add` takes in another)"


def _there() -> list[str]:
    """Names of the packs that have a card, whatever it says."""
    cards = cache.packs_folder().glob("*/card.toml")
    return sorted(path.parent.name for path in cards if _NAME.fullmatch(path.parent.name))


def _check_points(card: Card, name: str) -> None:
    try:
        threshold_for(card.populations, ANY_BUDGET, 1)
    except ModelMismatch:
        raise ModelMismatch(f"the pack {name} has no operating points: measure them with `doorctl evaluate calibrate "
                            f"--pack {name}`, then choose it") from None


def _entry(name: str) -> Entry:
    is_chosen = name == chosen()
    if not (folder_of(name) / "card.toml").exists():
        if name in RECIPES:
            return Entry(name, "not built", is_chosen, summary=str(RECIPES[name].template()["summary"]))
        return Entry(name, "damaged", is_chosen, fault=_absence(name))
    try:
        card = read_card(folder_of(name))
        check_files(card)
    except ModelMismatch as error:
        return Entry(name, "damaged", is_chosen, fault=str(error))
    return Entry(name, "built", is_chosen, card.model_id, card.summary, liveness.has_networks(card),
                 tuple(p.name for p in card.populations))


def _choice() -> Path:
    return cache.packs_folder() / "chosen"
