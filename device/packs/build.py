"""Builds a pack into the cache: fetch, convert, write the card, test, and only then put it in place."""

from __future__ import annotations

import hashlib
from pathlib import Path

from device.errors import ModelMismatch, UsageError
from device.face.card import Card, check_files, read_card
from device.packs import cache, cardfile, liveness, selftest
from device.packs.cardfile import Table
from device.packs.recipes import DEFAULT, RECIPES, Recipe


def build(name: str = DEFAULT) -> Card:
    """The pack's card; built only where it is not there, intact and up to date, its liveness networks added as soon
    as their weights are on this machine.

    Safe beside another builder. TerminalError where it cannot be had; a pack that was there before stays.
    """
    recipe = recipe_of(name)
    folder = cache.packs_folder() / name
    # Without the lock, which a cache of another owner would not give.
    if _is_current(recipe, folder) and liveness.is_complete(folder):
        return read_card(folder)
    with cache.builder_lock(folder.parent):
        if not is_built(name):
            _build(recipe, folder)
        elif not _is_current(recipe, folder):
            cardfile.write_table(folder / "card.toml", _renewed(recipe, folder))
        return liveness.complete(folder)


def is_built(name: str) -> bool:
    """Whether the pack is there, of the recipe that this version has, and every file unaltered."""
    recipe, folder = recipe_of(name), cache.packs_folder() / name
    try:
        card = read_card(folder)
        check_files(card)
    except ModelMismatch:
        return False
    template = recipe.template()
    return card.model_id == cardfile.model_id(name, template["recogniser"]) and (
        [file.name for file in card.files if file.role not in liveness.ROLES]
        == [file["name"] for file in template["file"]])


def recipe_of(name: str) -> Recipe:
    """The recipe called `name`; UsageError names those that there are."""
    if name not in RECIPES:
        raise UsageError(f"there is no recipe for a pack {name!r}; there is one for {' and '.join(RECIPES)}")
    return RECIPES[name]


def _is_current(recipe: Recipe, folder: Path) -> bool:
    return is_built(recipe.name) and _table_of(folder)["template_sha256"] == _digest(recipe)


def _build(recipe: Recipe, folder: Path) -> None:
    contents = recipe.make()
    table = _filled(recipe, {role: hashlib.sha256(data).hexdigest() for role, data in contents.items()})
    table["population"] = _populations(table, folder)
    with cache.replacing(folder) as fresh:
        for file in table["file"]:
            (fresh / file["name"]).write_bytes(contents[file["role"]])
        cardfile.write_table(fresh / "card.toml", table)
        selftest.check(read_card(fresh))


def _filled(recipe: Recipe, digests: dict[str, str]) -> Table:
    """The template with what only this build can tell."""
    table = recipe.template()
    for file in table["file"]:
        if file.setdefault("sha256", digests[file["role"]]) != digests[file["role"]]:
            raise ModelMismatch(f"{recipe.name}: {file['name']} is not the file that the card means")
    head = {"name": recipe.name, "model_id": cardfile.model_id(recipe.name, table["recogniser"]),
            "template_sha256": _digest(recipe),
            "shipped_populations": [population["name"] for population in table.get("population", ())]}
    return {**head, **table}


def _renewed(recipe: Recipe, folder: Path) -> Table:
    """The card of the files that are there, under this version's template."""
    old = _table_of(folder)
    table = _filled(recipe, {file["role"]: file["sha256"] for file in old["file"]})
    table["population"] = _populations(table, folder)
    return liveness.carried(old, table)


def _populations(table: Table, folder: Path) -> list[Table]:
    """The template's populations, and after them those that were measured on this machine."""
    shipped: list[Table] = list(table.get("population", ()))
    try:
        old = _table_of(folder)
    except ModelMismatch:
        return shipped
    if old.get("model_id") != table["model_id"]:
        return shipped
    from_templates = {*table["shipped_populations"], *old.get("shipped_populations", ())}
    return shipped + [entry for entry in old.get("population", ()) if entry["name"] not in from_templates]


def _table_of(folder: Path) -> Table:
    return {"template_sha256": "", **cardfile.read_table(folder / "card.toml")}


def _digest(recipe: Recipe) -> str:
    return hashlib.sha256(recipe.template_text().encode()).hexdigest()
