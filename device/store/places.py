"""Where the terminal keeps its state: one folder per file and writer, moved as a whole by DOOR_STATE.

Called by the composition root, by `doorctl` and by door-syncd; the services' units make the same folders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from device.errors import StoreError

DEFAULT_ROOT = Path("/var/lib/door")
DEFAULT_LINK = Path("/etc/door/link.toml")

# Both daemons share a group per folder: a reader of a WAL file must be able to write its shared-memory file,
# and set-gid makes each new file the group's.
FOLDER_MODE = 0o2770


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of one terminal's state.

    gallery_db  who may enter; written by door-syncd, or by doorctl on a stand-alone terminal
    journal_db  what happened; written by doord
    key         the terminal's key where no service manager hands one over (see `store.seal`)
    evidence    pictures of attacks, where the site keeps them (see `store.evidence`)
    fire        there where fire has freed the door and nobody has reset it (see `store.latch`)
    lock        which doord has this folder (see `store.only`)
    """

    root: Path
    gallery_db: Path
    journal_db: Path
    key: Path
    evidence: Path
    fire: Path
    lock: Path


def places(environment: Mapping[str, str] | None = None) -> Places:
    """The state folder that DOOR_STATE names, else /var/lib/door; nothing is made or read."""
    chosen = (os.environ if environment is None else environment).get("DOOR_STATE")
    root = Path(chosen).absolute() if chosen else DEFAULT_ROOT
    return Places(root, root / "gallery" / "gallery.db", root / "journal" / "journal.db", root / "terminal.key",
                  root / "journal" / "evidence", root / "journal" / "fire", root / "journal" / "doord.lock")


def link_path(environment: Mapping[str, str] | None = None) -> Path:
    """The file by which provisioning ties this terminal to a hub."""
    return Path((os.environ if environment is None else environment).get("DOOR_LINK", DEFAULT_LINK))


def is_linked(environment: Mapping[str, str] | None = None) -> bool:
    """Whether a hub owns the gallery; else the terminal stands alone and doorctl writes it."""
    return link_path(environment).exists()


def make_folders(where: Places) -> None:
    """Make the folders that are missing, group-writable and set-gid; those that exist are left as they are."""
    for folder in (where.root, where.gallery_db.parent, where.journal_db.parent):
        if folder.is_dir():
            continue
        try:
            folder.mkdir(parents=True)
            folder.chmod(FOLDER_MODE)
        except OSError as error:
            reason = error.strerror or "cannot be made"
            raise StoreError(f"{folder}: {reason}; set DOOR_STATE to a folder that can be written") from None
