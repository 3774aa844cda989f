"""Cards and PINs of persons, as people give them: read by the terminal's own parsers, so that what is stored here is
what a reader at a door shows.

`people` keeps them, sealed under keys of their own, and tells the terminals. Called by the API and the CLI.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from device.credentials.card import Card
from device.credentials.pin import is_number, is_pin, pin_secret
from device.store import body
from device.store.records import Credential, Method, sought
from sync.hub.errors import FieldRefused
from sync.hub.people import People
from sync.hub.schema import credentials
from sync.hub.storage import Storage
from sync.hub.vault import Vault, own_key


@dataclass(frozen=True, slots=True)
class Held:
    """A credential as the hub shows it. number: by which a PIN is found; a card's is not shown."""

    credential_id: str
    method: Method
    is_duress: bool
    valid_until: datetime | None
    number: str


class Credentials:
    """Of every person of one hub; any thread may use it."""

    def __init__(self, storage: Storage, vault: Vault, people: People) -> None:
        self._storage, self._vault, self._people = storage, vault, people

    def add_card(self, person_id: str, number: str, is_duress: bool = False,
                 valid_until: datetime | None = None) -> str:
        """Give a person the card whose number is written so (`Card.parse`); the credential's id. InTheWay where it is
        somebody's already."""
        try:
            secret = Card.parse(number).secret()
        except ValueError as error:
            raise FieldRefused("number", str(error)) from None
        return self._people.add_credential(person_id, Method.CARD, secret, is_duress, valid_until)

    def add_pin(self, person_id: str, number: str, pin: str, is_duress: bool = False,
                valid_until: datetime | None = None) -> str:
        """Give a person a number and a PIN; with is_duress a second one for that number, which opens and alarms.
        InTheWay where the number is somebody else's."""
        try:
            secret = pin_secret(number, pin)
        except ValueError as error:
            raise FieldRefused("pin" if is_number(number) or not is_pin(pin) else "number", str(error)) from None
        return self._people.add_credential(person_id, Method.PIN, secret, is_duress, valid_until)

    def of(self, person_id: str) -> list[Held]:
        """What a person holds, in order of ids. NotThere where there is no such person."""
        with self._storage.read() as tx:
            ids = self._people.get(person_id).credential_ids
            rows = tx.all(sa.select(credentials).where(credentials.c.person_id == person_id)
                          .order_by(credentials.c.credential_id))
            keys = self._vault.keys_of(own_key("credential", one) for one in ids)
        return [_held(body.decode(Credential, keys.open(own_key("credential", row.credential_id), row.sealed,
                                                        "credential", row.credential_id))) for row in rows]


def _held(one: Credential) -> Held:
    number = sought(one.method, one.secret).decode("ascii", "replace") if one.method is Method.PIN else ""
    return Held(one.credential_id, one.method, one.is_duress, one.valid_until, number)
