"""What door-syncd hands to doord through gallery.db besides records: commands, desired state, signs; and the group
keys that it keeps for itself.

doord trusts none of it: commands and desired state are the hub's signed bytes, which doord verifies (`orders_desk`).
"""

from __future__ import annotations

from dataclasses import dataclass

from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter

INBOX_LIMIT = 64
KEYS_KEPT = 8  # of each group; a page under an older one is sent again under the newest


@dataclass(frozen=True, slots=True)
class Letter:
    """A command as it arrived; number rises."""

    number: int
    command_id: str
    data: bytes


class HandoverReader:
    """Reads what lies in a gallery that is open."""

    def __init__(self, reader: CacheReader) -> None:
        self._reader = reader

    def inbox(self, after: int = 0) -> list[Letter]:
        """Commands that follow a number, oldest first."""
        rows = self._reader._all("SELECT number, command_id, data FROM inbox WHERE number > ? "
                                 "ORDER BY number LIMIT ?", [after, INBOX_LIMIT])
        return [Letter(*row) for row in rows]

    def desired(self) -> tuple[int, bytes] | None:
        """(version, signed bytes) of the newest desired state."""
        rows = self._reader._all("SELECT version, data FROM desired")
        return (rows[0][0], rows[0][1]) if rows else None

    def sign(self, name: str) -> str:
        """What door-syncd says of itself under this name; empty where nothing."""
        rows = self._reader._all("SELECT value FROM signs WHERE name = ?", [name])
        return str(rows[0][0]) if rows else ""


class Handover(HandoverReader):
    """The writer's side."""

    def __init__(self, writer: CacheWriter) -> None:
        super().__init__(writer)
        self._writer, self._db = writer, writer._db

    def put_command(self, command_id: str, data: bytes) -> bool:
        """Hand over a command; false where it lies there already or too many wait."""
        with self._writer.quietly():
            waiting = self._writer._all("SELECT count(*), count(*) FILTER (WHERE command_id = ?) FROM inbox",
                                        [command_id])[0]
            if waiting[0] >= INBOX_LIMIT or waiting[1]:
                return False
            self._db.execute("INSERT INTO inbox (command_id, data) VALUES (?, ?)", [command_id, data])
            return True

    def drop_command(self, command_id: str) -> None:
        with self._writer.quietly():
            self._db.execute("DELETE FROM inbox WHERE command_id = ?", [command_id])

    def put_desired(self, version: int, data: bytes) -> bool:
        """Hand over a desired state; false where a newer one, or this one, lies there already."""
        known = self.desired()
        if known is not None and known[0] >= version:
            return False
        with self._writer.quietly():
            self._db.execute("INSERT OR REPLACE INTO desired (id, version, data) VALUES (1, ?, ?)", [version, data])
        return True

    def put_sign(self, name: str, value: str) -> None:
        if self.sign(name) != value:
            with self._writer.quietly():
                self._db.execute("INSERT OR REPLACE INTO signs (name, value) VALUES (?, ?)", [name, value])

    def put_group_key(self, group: str, key_id: str, key: bytes) -> bool:
        """Keep a group's key, sealed; false where it is there already. Of each group the newest few are kept."""
        if self._writer._all("SELECT 1 FROM group_keys WHERE key_id = ?", [key_id]):
            return False
        with self._writer.quietly():
            sealed = self._writer._sealer.seal(key, "group_key", group, key_id)
            self._db.execute("INSERT INTO group_keys (key_id, group_id, sealed) VALUES (?, ?, ?)",
                             [key_id, group, sealed])
            self._db.execute("DELETE FROM group_keys WHERE group_id = ? AND number NOT IN (SELECT number FROM "
                             "group_keys WHERE group_id = ? ORDER BY number DESC LIMIT ?)", [group, group, KEYS_KEPT])
        return True

    def group_keys(self) -> list[tuple[str, str, bytes]]:
        """(group, key id, key), oldest first; SealBroken where one does not open."""
        return [(row[0], row[1], self._writer._sealer.unseal(row[2], "group_key", row[0], row[1]))
                for row in self._writer._all("SELECT group_id, key_id, sealed FROM group_keys ORDER BY number")]
