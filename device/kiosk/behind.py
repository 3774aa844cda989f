"""The terminal behind the screen: all that the kiosk may know of it and do to it, filled by the composition root."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device.clock import Clock
from device.config import DEFAULT_PATH, Config
from device.door.types import CredentialShown, DoorState
from device.face.card import Card
from device.inbox import Arrival
from device.kiosk.enrolment.registrar import Registrar
from device.roster import Roster
from device.status import Status
from device.store.places import Places
from device.store.records import Person
from device.store.seal import Key


@dataclass(frozen=True, slots=True, eq=False)
class Behind:
    """One terminal. Each call returns at once and may come from any thread, but for `person`.

    state        the door's state now
    turned       when the door thread turned last, monotonic seconds
    put          hand something to the door thread; False where it is too busy to take it
    offer        hand a credential to the credential desk; False as for `put`
    person       the record of a person, asked on the door thread only
    status       how the terminal is, a second old at most
    config_path  the file that the configuration was read from; None where there was none
    restart      end the terminal so that the service manager starts it again; None where there is none
    registrar    who takes people in for a terminal that belongs to a hub; None where they are taken in elsewhere
    """

    config: Config
    clock: Clock
    where: Places
    key: Key
    card: Card
    state: Callable[[], DoorState]
    turned: Callable[[], float]
    put: Callable[[Arrival], bool]
    offer: Callable[[CredentialShown], bool]
    person: Callable[[str], Person | None]
    roster: Callable[[], Roster]
    status: Callable[[], Status]
    config_path: Path | None = None
    restart: Callable[[], None] | None = None
    registrar: Registrar | None = None

    @property
    def config_folder(self) -> Path:
        """Where the commissioning card lies: with the configuration, or, where that folder is somebody else's, with
        the journal."""
        folder = (self.config_path or DEFAULT_PATH).parent
        return folder if os.access(folder, os.W_OK) else self.where.journal_db.parent
