"""Persons and their cards, read from gallery.db at the moment of a decision. Owned by the door thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from device.errors import SealBroken, StoreError
from device.store.cache import CacheReader
from device.store.records import Method, Person
from device.store.seal import Key

log = logging.getLogger(__name__)


class Acquaintance:
    """known  turns a record into who counts as known now, or nobody"""

    def __init__(self, gallery_db: Path, key: Key, known: Callable[[Person | None], Person | None]) -> None:
        self._path, self._key, self._known = gallery_db, key, known
        self._reader: CacheReader | None = None

    def person(self, person_id: str) -> Person | None:
        """The person's record; nobody where it cannot be read."""
        try:
            return self._known(self._opened().person(person_id))
        except (StoreError, SealBroken) as error:
            log.error("person %s cannot be read: %s", person_id, error)
            return None

    def cards(self, person_id: str) -> list[bytes]:
        """The secrets of a person's cards; errors as the reader's."""
        return [one.secret for one in self._opened().credentials(person_id) if one.method is Method.CARD]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _opened(self) -> CacheReader:
        if self._reader is None:
            self._reader = CacheReader.open(self._path, self._key)
        return self._reader
