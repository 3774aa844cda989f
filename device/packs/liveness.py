"""Adds the two liveness networks to a pack whose weights could be had: called by `packs.build` and `packs.library`.

A pack without them is whole, and has no passive liveness network. They do not touch its `model_id`: vectors stay
comparable whether a pack has them or not.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib import resources
from pathlib import Path

from device.face.card import Card, read_card
from device.packs import cache, cardfile, minifasnet, selftest, weights
from device.packs.cardfile import Table

ROLES = tuple(each.role for each in weights.WEIGHTS)
"""What the two networks are called in a card."""

_ENTRIES = ("file", "known_vector")


def has_networks(card: Card) -> bool:
    return all(card.has(role) for role in ROLES)


def is_complete(folder: Path) -> bool:
    """Whether nothing can be added: the networks are there, as this version describes them, or cannot be had now."""
    table = cardfile.read_table(folder / "card.toml")
    if _names(table):
        return bool(table.get("liveness_sha256") == _digest())
    return not weights.at_hand()


def complete(folder: Path) -> Card:
    """The card of the pack in `folder`, with the networks added or described anew where that is due.

    The caller holds the builder's lock. ModelMismatch where they do not pass the self-test; the pack stays as it was.
    """
    if not is_complete(folder):
        table = cardfile.read_table(folder / "card.toml")
        if _names(table):
            cardfile.write_table(folder / "card.toml", _described(table, _digests(table)))
        else:
            _add(folder, table, weights.at_hand())
    return read_card(folder)


def carried(old: Table, fresh: Table) -> Table:
    """`fresh`, a card written anew for the files of `old`, with the networks that `old` has."""
    return _described(fresh, _digests(old)) if _names(old) else fresh


def _add(folder: Path, table: Table, contents: dict[str, bytes]) -> None:
    networks = {each.role: minifasnet.convert(contents[each.role], each.has_attention) for each in weights.WEIGHTS}
    described = _described(table, {role: hashlib.sha256(data).hexdigest() for role, data in networks.items()})
    with cache.replacing(folder) as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        for file in described["file"]:
            if file["role"] in networks:
                (fresh / file["name"]).write_bytes(networks[file["role"]])
        cardfile.write_table(fresh / "card.toml", described)
        selftest.check(read_card(fresh))


def _described(table: Table, digests: dict[str, str]) -> Table:
    """`table` with what this version says of the networks."""
    about = cardfile.parse(_template_text(), "cards/liveness.toml")
    for file in about["file"]:
        file["sha256"] = digests[file["role"]]
    merged = {"liveness_sha256": _digest(), **table, "passive": about["passive"]}
    for name in _ENTRIES:
        merged[name] = [entry for entry in table[name] if entry["role"] not in ROLES] + about[name]
    merged["liveness_sha256"] = _digest()
    return merged


def _digests(table: Table) -> dict[str, str]:
    return {file["role"]: file["sha256"] for file in table["file"] if file["role"] in ROLES}


def _names(table: Table) -> set[str]:
    return {file["name"] for file in table["file"] if file["role"] in ROLES}


def _digest() -> str:
    return hashlib.sha256(_template_text().encode()).hexdigest()


def _template_text() -> str:
    return resources.files("device.packs").joinpath("cards/liveness.toml").read_text(encoding="utf-8")
