"""Who is known: persons as the hub keeps them, found and listed.

`people` changes what is read here. Called by the API, the CLI and the import through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from device.store import body
from device.store.records import Person
from sync.hub.errors import NotThere
from sync.hub.schema import credentials, memberships, persons, photos, templates
from sync.hub.storage import Storage, Tx, in_parts
from sync.hub.vault import Vault, own_key


@dataclass(frozen=True, slots=True)
class Kept:
    """What is sealed of a person."""

    person: Person
    external_id: str | None = None

    def __repr__(self) -> str:
        return f"Kept({self.person.person_id})"


@dataclass(frozen=True, slots=True)
class Known:
    """A person as the hub shows them."""

    person: Person
    external_id: str | None
    template_ids: tuple[str, ...]
    credential_ids: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Known({self.person.person_id})"


class Directory:
    """Every person of the hub; any thread may use it."""

    def __init__(self, storage: Storage, vault: Vault) -> None:
        self._storage, self._vault = storage, vault

    def get(self, person_id: str) -> Known:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            kept = self._kept(tx, person_id)
            return Known(kept.person, kept.external_id, tuple(self._templates_of(tx, person_id)),
                         tuple(self._credentials_of(tx, person_id)))

    def find(self, external_id: str) -> str | None:
        """Whose external id that is."""
        finder = self._finder(external_id)
        with self._storage.read() as tx:
            return self._holder(tx, finder) if finder is not None else None

    def page(self, limit: int, after: str = "", group_id: str | None = None) -> list[Known]:
        """At most `limit` persons in the order of their ids, which is none in particular, after that one."""
        with self._storage.read() as tx:
            wanted = sa.select(persons).where(persons.c.person_id > after)
            if group_id is not None:
                wanted = wanted.join(memberships, memberships.c.person_id == persons.c.person_id).where(
                    memberships.c.group_id == group_id)
            rows = tx.all(wanted.order_by(persons.c.person_id).limit(limit))
            ids = [row.person_id for row in rows]
            keys = self._vault.keys_of(ids)
            faces = self._ids(tx, templates.c.template_id, ids)
            cards = self._ids(tx, credentials.c.credential_id, ids)
            found = []
            for row in rows:
                kept = body.decode(Kept, keys.open(row.person_id, row.sealed, "person", row.person_id))
                found.append(Known(kept.person, kept.external_id, tuple(faces.get(row.person_id, ())),
                                   tuple(cards.get(row.person_id, ()))))
            return found

    def beginning_with(self, digits: str) -> list[str]:
        """At most ten ids that begin so."""
        with self._storage.read() as tx:
            return [row.person_id for row in tx.all(
                sa.select(persons.c.person_id).where(persons.c.person_id.startswith(digits, autoescape=True))
                .limit(10))]

    def labels(self, person_ids: Sequence[str]) -> dict[str, str]:
        """Person -> name, of those who are still known."""
        found = {}
        with self._storage.read() as tx:
            for part in in_parts(person_ids):
                keys = self._vault.keys_of(part)
                for row in tx.all(sa.select(persons).where(persons.c.person_id.in_(part))):
                    kept = body.decode(Kept, keys.open(row.person_id, row.sealed, "person", row.person_id))
                    found[row.person_id] = kept.person.label
        return found

    def has(self, person_id: str) -> bool:
        with self._storage.read() as tx:
            return tx.one(sa.select(persons.c.person_id).where(persons.c.person_id == person_id)) is not None

    def count(self) -> int:
        with self._storage.read() as tx:
            return int(tx.value(sa.select(sa.func.count()).select_from(persons)) or 0)

    def photo(self, template_id: str) -> bytes | None:
        """The picture behind a template, where pictures are kept."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(photos).where(photos.c.template_id == template_id))
        return None if row is None else self._vault.open_one(own_key("template", template_id), row.sealed, "photo",
                                                             template_id)

    # --- inside ----------------------------------------------------------------------------------------------

    def _kept(self, tx: Tx, person_id: str) -> Kept:
        row = tx.one(sa.select(persons.c.sealed).where(persons.c.person_id == person_id))
        if row is None:
            raise NotThere(f"there is no person {person_id[:60]!r}")
        return body.decode(Kept, self._vault.open_one(person_id, row.sealed, "person", person_id))

    def _templates_of(self, tx: Tx, person_id: str) -> list[str]:
        return self._ids(tx, templates.c.template_id, [person_id]).get(person_id, [])

    def _credentials_of(self, tx: Tx, person_id: str) -> list[str]:
        return self._ids(tx, credentials.c.credential_id, [person_id]).get(person_id, [])

    def _ids(self, tx: Tx, column: sa.Column[str], person_ids: Sequence[str]) -> dict[str, list[str]]:
        owner = column.table.c.person_id
        found: dict[str, list[str]] = {}
        for part in in_parts(person_ids):
            for row in tx.all(sa.select(owner.label("owner"), column.label("one")).where(owner.in_(part))
                              .order_by(column)):
                found.setdefault(row.owner, []).append(row.one)
        return found

    def _finder(self, external_id: str | None) -> bytes | None:
        return self._vault.finder("external", external_id) if external_id else None

    def _holder(self, tx: Tx, finder: bytes) -> str | None:
        found = tx.value(sa.select(persons.c.person_id).where(persons.c.external == finder))
        return str(found) if found is not None else None
