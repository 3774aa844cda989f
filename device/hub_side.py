"""HubSide: all that doord heeds of the hub beyond records, by the door thread. On a terminal that stands alone there
is no desk, and nothing to heed.

    orders, mode      `orders_desk`, obeyed at once
    time, keys        told to `timekeeper`, and to whoever verifies QR passes
    settings          `hub_settings`, in force from the next start
    the link's state  silence, groups that hold no longer for want of the hub's word, what may be pruned of the
                      journal, and whether it must not go on
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from device.clock import Clock
from device.door.reasons import entry
from device.errors import ConfigError
from device.hub_settings import HubSettings
from device.orders_desk import OrdersDesk
from device.store.keeper import JournalKeeper
from device.store.records import NewEntry, Person
from device.store.terminal_records import TerminalConfig
from device.store.trust import Verifier

log = logging.getLogger(__name__)

TRIM_S = 60.0


@dataclass(frozen=True, slots=True)
class HubHands:
    """What HubSide moves.

    degrade  begins or ends a degraded mode
    write    appends to the journal
    renewed  the journal was begun anew
    restart  ends doord, to be started again; None where nobody would
    """

    degrade: Callable[[str, bool], None]
    write: Callable[[NewEntry], object]
    renewed: Callable[[], None]
    restart: Callable[[], None] | None = None


class HubSide:
    """`desk` is set once it is open; settings None = this door takes none from the hub."""

    def __init__(self, journal: JournalKeeper, settings: HubSettings | None, clock: Clock, hands: HubHands) -> None:
        self.desk: OrdersDesk | None = None
        self._journal, self._settings, self._clock, self._hands = journal, settings, clock, hands
        self._next_trim = clock.mono() + TRIM_S

    @property
    def pass_keys(self) -> Verifier:
        """The hub's keys, whose signature makes a QR pass; kept current. None on a terminal that stands alone."""
        return self.desk.pass_keys if self.desk is not None else Verifier()

    def turn(self) -> None:
        """Obey what was handed over since."""
        if self.desk is not None:
            self.desk.turn()

    def each_second(self) -> None:
        """Heed what is said of the link; let go of what the hub has of the journal."""
        journal = self._journal.journal
        is_trim_due = self._clock.mono() >= self._next_trim
        if is_trim_due:
            self._next_trim = self._clock.mono() + TRIM_S
        if self.desk is None:
            if is_trim_due:
                self._journal.trim(None)
            return
        self._hands.degrade("hub_silent", self.desk.is_stale)
        if journal is not None and journal.journal_id == self.desk.journal_ahead:
            self._journal.renew("set back: the hub has more of it than this terminal")
            self._hands.renewed()
        elif journal is not None and is_trim_due:
            self._journal.trim(self.desk.acked(journal.journal_id))

    def known(self, person: Person | None) -> Person | None:
        """The person without the groups that hold no longer for want of the hub's word; nobody where none is left."""
        if person is None or self.desk is None or not self.desk.lapsed:
            return person
        groups = tuple(group for group in person.groups if not self.desk.is_lapsed(group))
        return replace(person, groups=groups) if groups else None

    def outbox(self) -> int:
        """Journal entries that the hub has not acknowledged; all of them on a terminal that stands alone."""
        journal = self._journal.journal
        if journal is None:
            return 0
        return journal.head - (self.desk.acked(journal.journal_id) if self.desk is not None else 0)

    def configure(self, wanted: TerminalConfig) -> None:
        """Settings of the version that the hub wants: written down as applied where they are in force, else kept for
        the next start, which is now where somebody starts doord again."""
        if self._settings is not None and wanted.version == self._settings.version:
            self._hands.write(entry("config_changed", version=wanted.version, source="hub"))
            return
        try:
            if self._settings is None:
                raise ConfigError("this door takes no settings from the hub")
            self._settings.take(wanted)
        except ConfigError as error:
            log.error("%s", error)
            self._hands.write(entry("config_refused", version=wanted.version, source="hub", why=str(error)[:200]))
            return
        log.warning("settings of the hub, version %d, are in force from the next start", wanted.version)
        if self._hands.restart is not None:
            self._hands.restart()

    def close(self) -> None:
        if self.desk is not None:
            self.desk.close()
