"""Where the hub keeps its state: the database in one folder, the keys that open it in another.

FLEETHUB_STATE moves all of it. The two folders are kept apart so that a copy of `data` (a backup, a stolen disk
image of the database's volume) holds nothing that can be read. FLEETHUB_DATABASE names a PostgreSQL server's database
instead of the file; the keys stay here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from device.errors import ConfigError, StoreError

DEFAULT_ROOT = Path("/var/lib/fleethub")
FOLDER_MODE = 0o700
SERVER = "FLEETHUB_DATABASE"
DRIVER = "postgresql+psycopg"


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of one hub.

    database  persons, templates, ledger, events: sealed where it matters
    server    the address of a PostgreSQL database that holds these instead; it may hold a password: no repr shows it
    vault     salts of the keys of persons, templates and credentials; destroyed one by one, never part of a backup
    mark      how far the ledger had come when last written, by which an old database is noticed
    endings   what has ended for good, done again on a database that was set back
    master    the master key where no service manager hands one over
    run       what lives only as long as the hub does: the private broker's files
    home      how Home Assistant is reached, where it is to be: written by whoever runs this machine
    """

    root: Path
    database: Path
    vault: Path
    mark: Path
    endings: Path
    master: Path
    run: Path
    home: Path
    server: str | None = field(default=None, repr=False)

    @property
    def main(self) -> Path | str:
        """The database: its file, or the server's address."""
        return self.server or self.database

    @property
    def shown(self) -> str:
        """The database, for messages."""
        return "the server's database" if self.server else str(self.database)

    @property
    def updates(self) -> Path:
        """Bundles for roll-outs, and the root of trust that they are verified by."""
        return self.root / "updates"


def places(environment: Mapping[str, str] | None = None, root: Path | None = None) -> Places:
    """The paths below `root`, else below FLEETHUB_STATE, else below /var/lib/fleethub; nothing is made or read.
    ConfigError for an address that is no PostgreSQL's."""
    given = os.environ if environment is None else environment
    chosen = root or given.get("FLEETHUB_STATE")
    top = Path(chosen).absolute() if chosen else DEFAULT_ROOT
    keys = top / "keys"
    return Places(top, top / "data" / "hub.db", keys / "keys.db", keys / "mark", keys / "endings",
                  keys / "master.key", top / "run", top / "home_assistant.toml", _server(given.get(SERVER, "")))


def _server(address: str) -> str | None:
    """As SQLAlchemy takes it."""
    scheme, sign, rest = address.strip().partition("://")
    if not address.strip():
        return None
    if not sign or scheme not in ("postgresql", "postgres", DRIVER):
        raise ConfigError(f"{SERVER}: give an address like postgresql://fleethub@db.example/fleethub")
    return f"{DRIVER}://{rest}"


def make_folders(where: Places) -> None:
    """Make the folders that are missing, for the hub's own account alone."""
    for folder in (where.root, where.database.parent, where.vault.parent, where.run):
        if folder.is_dir():
            continue
        try:
            folder.mkdir(parents=True, mode=FOLDER_MODE)
            folder.chmod(FOLDER_MODE)
        except OSError as error:
            reason = error.strerror or "cannot be made"
            raise StoreError(f"{folder}: {reason}; set FLEETHUB_STATE to a folder that can be written") from None
