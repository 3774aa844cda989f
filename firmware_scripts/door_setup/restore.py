"""restore: the configuration from a backup. Nothing is written before all of it has been judged."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from door_setup import archive
from door_setup.configuration import judge
from door_setup.credential import KEYS_OF_LINK, Store
from door_setup.plan import Step, Stop, carry_out, guarded
from door_setup.release import installed_version
from door_setup.tree import Tree, file_step

_RIGHTS = {"etc/door/terminal.toml": (0o640, "root:door"), "etc/door/link.toml": (0o644, "root:root")}


def main(arguments: list[str] | None = None) -> int:
    """0 restored; 1 the archive is refused or cannot be written; 2 its configuration cannot be used."""
    parser = argparse.ArgumentParser(
        prog="restore", description="Put a terminal's configuration back. A link to a hub is put back only where its "
        "keys are on this board: else provision it anew.",
        epilog="example: sudo firmware_scripts/restore door-1.tar.gz")
    parser.add_argument("file", type=Path, metavar="FILE", help="what `backup` wrote")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    options = parser.parse_args(arguments)
    os.umask(0o022)
    return guarded("restore", lambda: _restore(Tree.of(options.root), options.file, options.dry_run))


def _restore(tree: Tree, file: Path, is_dry_run: bool) -> int:
    with file.open("rb") as source:
        parts = archive.unpack(source.read(archive.MOST_BYTES + 1))
    _check_configuration(tree, parts)
    changed = carry_out(_steps(tree, parts), is_dry_run)
    if changed and not is_dry_run:
        print("run install again: it derives units from terminal.toml, and starts the services anew")
    return 0


def _steps(tree: Tree, parts: Mapping[str, bytes]) -> Iterator[Step]:
    for name, data in sorted(parts.items()):
        if name.endswith("link.toml") and not _has_keys(tree):
            print("  left out etc/door/link.toml: its keys are not on this board; run provision with a fresh code")
            continue
        mode, owner = _RIGHTS.get(name, (0o644, "root:root"))
        yield file_step(tree, f"/{name}", data, "as the backup has it", mode, owner)


def _has_keys(tree: Tree) -> bool:
    store = Store.of(tree, 0)
    return all(store.path(name) is not None for name in KEYS_OF_LINK)


def _check_configuration(tree: Tree, parts: Mapping[str, bytes]) -> None:
    """The installed release's judgement; a terminal must not be left with a configuration that it refuses."""
    data = parts.get("etc/door/terminal.toml")
    if data is None or installed_version(tree) is None:
        return
    if tree.is_live and os.geteuid() != 0:
        raise Stop("only root may do this: run it with sudo")
    judge(tree, data)
