"""The model pack that the release compares with, and the one person whom a rehearsal knows."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from door_setup.as_service import insist, run_as
from door_setup.chroot import mounted, seen
from door_setup.configuration import PATH
from door_setup.credential import Store
from door_setup.plan import Step, run
from door_setup.release import CURRENT, SHARE, program
from door_setup.tree import Tree

CACHE = "/var/cache/door"
LINK, GALLERY = "/etc/door/link.toml", "/var/lib/door/gallery/gallery.db"
PORTRAIT = "scikit_image"  # the archive that the rehearsal's portrait is taken from
_FETCH = "from device.packs.archives import portrait; portrait()"


def pack_steps(tree: Tree, cache: Path | None, is_rehearsal: bool) -> Iterator[Step]:
    """A pack that is there is left alone; `doorctl models` changes it."""
    if cache is not None:
        yield Step(f"copy model packs from {cache}", "the networks are no part of a release",
                   lambda: _has_pack(tree) and (not is_rehearsal or _has_portrait(tree)), lambda: _copy(tree, cache))
        return
    yield Step("build the model pack", "the networks are fetched from their authors and converted once",
               lambda: _has_pack(tree),
               lambda: _call(tree, "doorctl", "models", "build", "--quiet-if-built"))
    if is_rehearsal:
        yield Step("fetch the rehearsal's portrait", "its visitors are rendered from it", lambda: _has_portrait(tree),
                   lambda: _call(tree, "python", "-c", _FETCH))


def enrolment_step(store: Store) -> Step:
    """Enrol the rehearsal's sitter on a terminal that stands alone and has never known anybody."""
    def is_done() -> bool:
        return any(store.tree.at(path).exists() for path in (LINK, GALLERY))

    return Step("enrol the rehearsal's sitter", "the rendered visitors need somebody whom the door knows", is_done,
                lambda: _enrol(store))


def _enrol(store: Store) -> None:
    tree, folder = store.tree, f"/run/sitter-{secrets.token_hex(6)}"
    tree.at(folder).mkdir(parents=True)
    try:
        photo = seen(tree, f"{folder}/sitter.png")
        script = seen(tree, f"{CURRENT}/{SHARE}/firmware_scripts/door_setup/rehearsal.py")
        _call(tree, "python", "-I", script, "--photo", photo)
        insist(run_as(store, "doord", "doorctl", "enrol", "Rehearsal", photo, "--consent", "paper", "--config",
                      seen(tree, PATH)))
    finally:
        shutil.rmtree(tree.at(folder))


def _call(tree: Tree, name: str, *words: str) -> None:
    """A program of the release, run by root, its output shown."""
    surroundings = {**os.environ, "DOOR_CACHE": seen(tree, CACHE), "HOME": "/"}
    with mounted(tree):
        run([*program(tree, name), *words], environment=surroundings, is_shown=True)


def _copy(tree: Tree, cache: Path) -> None:
    tree.at(f"{CACHE}/archives").mkdir(parents=True, exist_ok=True)
    shutil.copytree(cache / "packs", tree.at(f"{CACHE}/packs"), dirs_exist_ok=True)
    for archive in (cache / "archives").glob(f"{PORTRAIT}*"):
        shutil.copy(archive, tree.at(f"{CACHE}/archives"))
    for path in tree.at(CACHE).rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _has_pack(tree: Tree) -> bool:
    return any(tree.at(f"{CACHE}/packs").glob("*/card.toml"))


def _has_portrait(tree: Tree) -> bool:
    return any(tree.at(f"{CACHE}/archives").glob(f"{PORTRAIT}*"))
