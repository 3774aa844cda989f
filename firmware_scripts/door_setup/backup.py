"""backup: the terminal's configuration into one file: terminal.toml, link.toml and drop-ins of its units.

Never the gallery, the journal or a key: a terminal that is set up from a backup is provisioned anew.
"""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from door_setup import archive
from door_setup.plan import Stop, guarded
from door_setup.release import installed_version
from door_setup.tree import Tree


def main(arguments: list[str] | None = None) -> int:
    """0 written, or the file holds the same already; 1 there is nothing to write, or it cannot be."""
    parser = argparse.ArgumentParser(
        prog="backup", description="Write this terminal's configuration into a file. No face, name, event or key is "
        "in it; a network camera's password may be.",
        epilog="example: sudo firmware_scripts/backup door-1.tar.gz")
    parser.add_argument("file", type=Path, metavar="FILE", help="a .tar.gz file to write")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="say what would be in it, and write nothing")
    options = parser.parse_args(arguments)
    return guarded("backup", lambda: _backup(Tree.of(options.root), options.file, options.dry_run))


def _backup(tree: Tree, file: Path, is_dry_run: bool) -> int:
    parts = dict(_parts(tree))
    if not parts:
        raise Stop(f"{tree.root}: there is no configuration of a terminal to back up")
    for name, data in parts.items():
        print(f"  {name} ({len(data)} bytes)")
    data = archive.pack(parts, installed_version(tree) or "")
    archive.unpack(data)  # what would not be taken back is no backup
    if is_dry_run:
        print(f"would write {file}")
        return 0
    if file.exists() and file.read_bytes() == data:
        print(f"nothing to change: {file} holds this already")
        return 0
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(6)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(fd)
    fresh.replace(file)
    print(f"{file}: readable by you alone; a camera's password in terminal.toml is in it as it stands there")
    return 0


def _parts(tree: Tree) -> Iterator[tuple[str, bytes]]:
    names = [*archive.CONFIGURED, *(str(path.relative_to(tree.root))
                                    for path in sorted(tree.at("/etc/systemd/system").glob("*.service.d/*.conf")))]
    for name in names:
        data = tree.read(f"/{name}")
        if archive.may_be(name) and data is not None:
            yield name, data
