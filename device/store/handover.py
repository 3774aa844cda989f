"""What door-syncd hands to doord through gallery.db besides records: commands, desired state, the hub's time and
keys, signs; and the group keys that it keeps for itself.

doord trusts none of it: all but the signs are the hub's signed bytes, which doord verifies (`orders_desk`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter

HEAD = "head"
HUB_KEYS = "hub_keys/"
INBOX_LIMIT = 64
_GROUP = "group/"  # left out in the table, which is older than streams that are no group's
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

    def head(self) -> bytes:
        """The newest head of the terminal's own stream as the hub signed it; empty where there is none."""
        return _bytes(self.sign(HEAD))

    def announcements(self) -> list[bytes]:
        """The hub's announcements of its keys as it signed them, in order."""
        rows = self._reader._all("SELECT value FROM signs WHERE name > ? AND name < ? ORDER BY name",
                                 [HUB_KEYS, HUB_KEYS + "~"])
        return [_bytes(str(row[0])) for row in rows]


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
        """Hand over a desired state; false where a newer one, or this one, lies there already. The same one signed
        anew takes its place: the key that signed it may be over before doord starts again."""
        known = self.desired()
        if known is not None and (known[0] > version or known == (version, data)):
            return False
        with self._writer.quietly():
            self._db.execute("INSERT OR REPLACE INTO desired (id, version, data) VALUES (1, ?, ?)", [version, data])
        return True

    def put_sign(self, name: str, value: str) -> None:
        self.put_signs({name: value})

    def put_signs(self, signs: Mapping[str, str]) -> None:
        """Say several things in one transaction; none where nothing of it is new."""
        if changed := [(name, value) for name, value in signs.items() if self.sign(name) != value]:
            with self._writer.quietly():
                for row in changed:
                    self._db.execute("INSERT OR REPLACE INTO signs (name, value) VALUES (?, ?)", row)

    def put_head(self, data: bytes, signs: Mapping[str, str]) -> None:
        """Hand over a head of the terminal's own stream; `signs` go with it."""
        self.put_signs({HEAD: base64.b64encode(data).decode(), **signs})

    def put_announcement(self, number: int, data: bytes) -> None:
        self.put_sign(f"{HUB_KEYS}{number:010d}", base64.b64encode(data).decode())

    def put_stream_key(self, stream: str, key_id: str, key: bytes, number: int) -> bool:
        """Keep the key of a stream that is shared, sealed; false where it is there already, or one with a higher
        number. Of each stream the newest few are kept."""
        name = stream.removeprefix(_GROUP)
        if self._writer._all("SELECT 1 FROM group_keys WHERE key_id = ? OR (group_id = ? AND number >= ?) "
                             "OR number = ?", [key_id, name, number, number]):
            return False
        with self._writer.quietly():
            sealed = self._writer._sealer.seal(key, "group_key", name, key_id)
            self._db.execute("INSERT INTO group_keys (number, key_id, group_id, sealed) VALUES (?, ?, ?, ?)",
                             [number, key_id, name, sealed])
            self._db.execute("DELETE FROM group_keys WHERE group_id = ? AND number NOT IN (SELECT number FROM "
                             "group_keys WHERE group_id = ? ORDER BY number DESC LIMIT ?)", [name, name, KEYS_KEPT])
        return True

    def drop_stream_keys(self, stream: str) -> None:
        """Forget the keys of a stream that this terminal follows no longer."""
        with self._writer.quietly():
            self._db.execute("DELETE FROM group_keys WHERE group_id = ?", [stream.removeprefix(_GROUP)])

    def stream_keys(self) -> list[tuple[str, str, bytes]]:
        """(stream, key id, key), oldest first; SealBroken where one does not open."""
        return [(row[0] if "/" in row[0] else _GROUP + row[0], row[1],
                 self._writer._sealer.unseal(row[2], "group_key", row[0], row[1]))
                for row in self._writer._all("SELECT group_id, key_id, sealed FROM group_keys ORDER BY number")]


def _bytes(text: str) -> bytes:
    """What was signed, from a sign; empty where it is no such text."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
