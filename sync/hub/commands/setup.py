"""`fleethub init`, `backup` and `restore`: the hub's state as a whole."""

from __future__ import annotations

import argparse
import fcntl
import os
from pathlib import Path
from typing import Any

from device.clock import SystemClock
from device.commands.console import say, say_json
from device.errors import StoreError
from device.store.sqlite import set_aside, sync_folder
from sync.hub.commands.opened import add_json, the_hub, where
from sync.hub.errors import InTheWay
from sync.hub.hub import keep_photos
from sync.hub.places import Places
from sync.hub.storage import Storage, exists


def add_parser(commands: Any) -> None:
    new = commands.add_parser("init", help="make a new hub: keys, database, a site, a group, a first token",
                              epilog="example: fleethub init --site hq --group staff")
    new.add_argument("--site", default="main", help="id of the first site (default main)")
    new.add_argument("--group", default="everyone", help="id of the first group (default everyone)")
    new.add_argument("--keep-photos", action="store_true",
                     help="keep the pictures of enrolments, sealed; the text that people agree to then says so")
    add_json(new)
    new.set_defaults(run=run_init)
    backup = commands.add_parser(
        "backup", help="copy the database while the hub runs",
        description="Copies the database into a new file. It opens only with the keys folder, of which only the "
                    "newest copy may be kept: an old one would bring back what has ended since.",
        epilog="example: fleethub backup /backup/hub-2026-03-01.db")
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.set_defaults(run=run_backup)
    restore = commands.add_parser(
        "restore", help="put a backup back",
        description="Puts a copy of the database in the place of the present one, which is set aside. Terminals are "
                    "given snapshots; what has ended since the copy was made (persons, faces, cards, consents, "
                    "groups that were left, terminals, tokens, webhooks) stays ended.",
        epilog="example: fleethub restore /backup/hub-2026-03-01.db")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.set_defaults(run=run_restore)
    tidy = commands.add_parser(
        "tidy", help="do at once what a running hub does every ten minutes",
        description="Removes faces whose consent has run out, and clears what was removed from the files. What goes "
                    "by time waits while the hub's clock cannot be believed.",
        epilog="example: fleethub tidy --clock-is-right")
    tidy.add_argument("--clock-is-right", action="store_true", help="vouch for the hub's clock")
    tidy.set_defaults(run=run_tidy)


def run_init(arguments: argparse.Namespace) -> int:
    """0 made; 1 where there is a hub already."""
    if exists(where(arguments).main):
        raise InTheWay(f"{where(arguments).shown}: there is a hub already")
    with the_hub(arguments, is_new=True) as hub:
        with hub.storage.write():
            hub.groups.add_site(arguments.site)
            hub.groups.add(arguments.group, arguments.site)
            if arguments.keep_photos:
                keep_photos(hub.storage)
        hub.keys.identity()
        token, _ = hub.tokens.make("admin", "made by fleethub init")
    if arguments.json:
        say_json({"state": str(where(arguments).root), "site": arguments.site, "group": arguments.group,
                  "token": token})
        return 0
    say(f"a new hub in {where(arguments).root}, with site {arguments.site} and group {arguments.group}\n"
        f"first token for the API, shown this once: {token}\n"
        f"keep a copy of {where(arguments).master} apart from the database: without it nothing can be opened")
    return 0


def run_backup(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.storage.copy_to(arguments.file.absolute())
    say(f"copied to {arguments.file}; mirror {where(arguments).vault.parent} separately, and keep only its newest "
        "copy")
    return 0


def run_tidy(arguments: argparse.Namespace) -> int:
    """0 done; 1 where the clock cannot be believed and nobody vouches for it."""
    with the_hub(arguments) as hub:
        hub.tidy(arguments.clock_is_right)
        doubt = hub.clock_check.doubt()
    say(f"nothing was deleted by time: {doubt}" if doubt else "tidied")
    return 1 if doubt else 0


def run_restore(arguments: argparse.Namespace) -> int:
    """0 restored; 1 where the hub runs, or the file is no copy of a hub."""
    places = where(arguments)
    if places.server:
        raise InTheWay("the hub's database lies on a server: put it back with the server's own tools and start the "
                       "hub; it sees by its keys' mark that it was set back, and ends again what has ended since")
    with running(places):
        fresh = places.database.with_name("restored.db")
        fresh.unlink(missing_ok=True)
        backup = Storage.open(checked_copy(arguments.file, fresh))
        backup.close()
        aside = set_aside(places.database, SystemClock()) if places.database.exists() else None
        fresh.replace(places.database)
        # Without its mark the ledger begins a new epoch, however old or new the copy is.
        places.mark.unlink(missing_ok=True)
        sync_folder(places.database.parent)
        with the_hub(arguments) as hub:
            hub.tidy()
            count = hub.people.count()
    say(f"restored: {count} persons; the terminals will be given snapshots"
        + (f"; the database that was there is now {aside}" if aside else ""))
    return 0


def checked_copy(source: Path, target: Path) -> Path:
    """A copy of the file to be restored; StoreError where it cannot be one."""
    try:
        data = source.open("rb")
    except OSError as error:
        raise StoreError(f"{source}: {(error.strerror or 'cannot be read').lower()}") from None
    with data:
        if data.read(16) != b"SQLite format 3\0":
            raise StoreError(f"{source}: not a copy of a hub's database")
        data.seek(0)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as copy:
            while part := data.read(1 << 20):
                copy.write(part)
            copy.flush()
            os.fsync(copy.fileno())
    return target


class running:
    """Held while the hub runs, or while its state is replaced; InTheWay where it is held already."""

    def __init__(self, where: Places) -> None:
        self._path = where.database.with_name("running")

    def __enter__(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{self._path}: {(error.strerror or 'cannot be made').lower()}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise InTheWay("the hub is running on this state; stop it first") from None

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
