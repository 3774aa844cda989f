"""The composition root: builds the parts of one door's terminal, starts the threads, runs the door's loop.

    camera, vision  `sight`
    gallery         follows gallery.db
    credentials     turns what readers took in into claims
    door            the caller of `Terminal.run`: decides, moves the relay, writes the journal

Called by `app` (doord), by the commands that run a door, and by the rehearsal.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from device.acquaintance import Acquaintance
from device.camera.camera import Camera
from device.clock import Clock, ClockQuality, boot_id, is_ntp_synced
from device.condition import condition_of
from device.config import DEFAULT_PATH, Config
from device.controller import Controller
from device.credentials.desk import CredentialDesk
from device.door.reasons import entry, reason
from device.door.types import Command, Degraded, DoorInput, DoorState, Effect, Fire, Timing, Verb
from device.drift import DriftWatch
from device.face.types import Box
from device.frame import Frame
from device.gallery_news import GalleryNews, loaded
from device.gatekeeper import TICK_S, Gatekeeper, Observer, Vigilance
from device.hardware.link import Relay, RelayLink
from device.hardware.orders import Ack, Said
from device.hub_settings import HubSettings
from device.hub_side import HubHands, HubSide
from device.inbox import Inbox
from device.local_requests import LocalRequests
from device.notify import notify
from device.orders_desk import Told, open_desk
from device.packs import library
from device.panel import Hands, Panel
from device.passages import LOOK_BACK
from device.readers import Hands as ReaderHands
from device.readers import Readers
from device.roster import RosterKeeper
from device.sight import Sight
from device.sighting import Level
from device.status import Status, status_path, write_status
from device.store.cache_writer import prepare_gallery
from device.store.evidence import Evidence
from device.store.journal import Journal
from device.store.keeper import JournalKeeper
from device.store.latch import FireLatch
from device.store.only import OnlyOne
from device.store.places import Places, is_linked, make_folders
from device.store.seal import Key, load_key
from device.store.sqlite import InUse, sqlite_warning
from device.store.trust import Verifier
from device.threads import Worker
from device.timekeeper import FIRST, FLOOR, TimeKeeper, recalled_floor
from device.vigil import Vigil
from device.witness import Witness

if TYPE_CHECKING:
    from device.kiosk.desk import KioskDesk
    from device.kiosk.enrolment.registrar import Registrar
    from device.observe.metrics import Metrics

log = logging.getLogger(__name__)

SECOND_S = 1.0


@dataclass(frozen=True, slots=True)
class ByHand:
    """What a scenario rules instead of the machine: a terminal without camera, vision and threads.

    relay    the lock; hands puts the mock pins at rest
    quality  how far the clock can be trusted; pass_keys  whose QR passes are taken
    """

    relay: Relay
    hands: Hands
    quality: Callable[[], ClockQuality]
    pass_keys: Verifier


class Terminal:
    """One door's terminal. `start`, then `run`; `close` in any case."""

    def __init__(self, config: Config, where: Places, clock: Clock, *, camera: Callable[[], Camera] | None = None,
                 observers: Sequence[Observer] = (), acknowledged: Callable[[Ack], None] | None = None,
                 echo: Callable[[str], None] | None = None, relay: Relay | None = None,
                 by_hand: ByHand | None = None, settings: HubSettings | None = None,
                 registrar: Registrar | None = None, is_ntp: Callable[[], bool] = is_ntp_synced) -> None:
        """relay     the lock; None = a door-relay process of this terminal's own
        settings  from which config was read, where the hub may change them
        registrar who takes people in on the kiosk of a terminal that belongs to a hub
        is_ntp    whether NTP has set the clock
        """
        self.begun_mono = clock.mono()
        self.config, self.places, self.clock = config, where, clock
        self._acknowledged, self._echo, self._by_hand = acknowledged, echo, by_hand
        self.requests = LocalRequests()
        self._next_second = 0.0
        self.ready_s = 0.0
        self._quality = ClockQuality.UNTRUSTED
        self.relay_pulses = 0
        make_folders(where)
        self._only = OnlyOne(where.lock)
        self._only.take()
        self._key = load_key(where)
        self._set_aside = _prepare(where, self._key, clock)
        self.card = library.open_pack(None if config.face.pack == "auto" else config.face.pack)
        self.inbox = Inbox()
        self.journal = JournalKeeper(lambda: Journal.open(where.journal_db, clock, boot_id()), clock)
        journal = self.journal.journal
        self.time = TimeKeeper(is_ntp, recalled_floor(journal) if journal is not None else FIRST, self._floor_lowered)
        self._fire_latch = FireLatch(where.fire)
        self._news = GalleryNews(self.card.model_id, self.inbox, self._degrade)
        self.rosters = RosterKeeper(where.gallery_db, self._key, self.card, config, self._news.changed,
                                    self._news.failed)
        self.relay = by_hand.relay if by_hand else relay or RelayLink(config.pins.lock, config.pins.active_low, clock)
        self.panel: Panel | None = None
        self.hub = HubSide(self.journal, settings, clock, HubHands(
            self._degrade, self.journal.append, lambda: self._news.tell(self.rosters.current),
            self._restart()))
        self._acquaintance = Acquaintance(where.gallery_db, self._key, self.hub.known)
        self.hub.desk = open_desk(where, self._key, boot_id(), clock, self._ordered, self.journal, self.clock_quality,
                                  Told(self.time.heard, self.hub.configure))
        pass_keys = by_hand.pass_keys if by_hand else self.hub.pass_keys
        self.credentials = CredentialDesk(where.gallery_db, self._key, pass_keys, clock, self._clock_quality_seen,
                                          self.inbox.put, lambda: self.gatekeeper.awaited)
        keys = where.journal_db.parent
        hands = ReaderHands(self.credentials.offer, self._degrade, self.inbox.note)
        self.readers = Readers(config.reader, clock, hands, keys)
        self.controller = Controller(config.controller, clock, self._acquaintance.cards,
                                     lambda *shown: self._shown.put(shown), self._degrade, self.inbox.note, keys)
        self._shown: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.kiosk = self._kiosk(registrar, settings.own if settings is not None else None)
        self.sight = None if by_hand else Sight(config, self.card, clock, self._degrade, camera,
                                                self.kiosk.lamp if self.kiosk else None)
        self.witness = self._witness()
        own = [settings.own.parent] if settings is not None else []
        self._drift = DriftWatch([*own, where.journal_db.parent], self._degrade)
        self.metrics = self._metrics()
        self.gatekeeper = Gatekeeper(
            self.inbox, lambda: self.rosters.current, self._acquaintance.person, self.relay, self._signal,
            self.journal, _timing(config), clock, self.clock_quality, self._observers(observers),
            Vigilance(Level(config.face.liveness), config.face.attack_high_s), self._fire_latch.set, self._stepped)
        if self.journal.journal is not None:
            self.gatekeeper.passages.recall(self.journal.journal.last(LOOK_BACK))
        self._workers: dict[str, Worker] = {}
        self.vigil = Vigil(self.sight, self._workers, self._degrade, self.relay.secure)

    def start(self) -> None:
        """Everything up to the moment from which a face can open the door."""
        self.open()
        bodies: dict[str, Callable[[Worker], None]] = {
            "gallery": self.rosters.follow, "credentials": self.credentials.run, **self.readers.bodies()}
        if self.controller.is_wanted:
            bodies["controller"] = self.controller.run
        if self.sight is not None:
            bodies |= self.sight.bodies(lambda: self.rosters.current, lambda: self.gatekeeper.demand, self.inbox,
                                        self._looked)
        for name, body in bodies.items():
            self._workers[name] = Worker(name, body, self.clock)
            self._workers[name].start()
        for part in (self.kiosk, self.witness):
            if part is not None:
                part.start()
        if self.metrics is not None and self.config.metrics.port is not None:
            log.info("metrics on port %d", self.metrics.serve(self.config.metrics.port))
        self.ready_s = self.clock.mono() - self.begun_mono
        self._status = self.status()
        notify("READY=1", "STATUS=ready")

    def open(self) -> None:
        """The door itself without its threads: relay, wires, gallery, the first entry, fire as it was."""
        self.relay.start()
        self.panel = Panel.open(self.config, self.clock, lambda: self.inbox.wake(self.clock.mono()), self._echo,
                                self._by_hand.hands if self._by_hand else None)
        self.readers.open(self.panel.factory)
        self.controller.open(self.panel.factory)
        self._news.load(self.rosters)
        self._note_start()
        self._restore_fire(self.panel.initial())

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """The door's loop: until `until()` holds or `stop` is called. The caller is the door thread."""
        while not self.requests.is_to_stop and not until():
            self.turn()

    def turn(self, wait_s: float = TICK_S) -> None:
        """One round of the door's loop, at most a twentieth of a second."""
        self.gatekeeper.turn(self.panel.wait_s(wait_s) if self.panel else wait_s)
        if self.panel is not None:
            for event in self.panel.inputs():
                self.gatekeeper.handle(event)
            self.panel.tick()
            while not self._shown.empty():
                self.panel.light(*self._shown.get())
        self._hear_relay()
        self._do_what_is_asked()
        self.hub.turn()
        if self.clock.mono() >= self._next_second:
            self._next_second = self.clock.mono() + SECOND_S
            self._each_second()

    def close(self) -> None:
        """Relay off first, then the threads, then the files."""
        notify("STOPPING=1")
        self.relay.close()
        for worker in self._workers.values():
            worker.stopping.set()
        for worker in self._workers.values():
            worker.stop()
        for part in (self.kiosk, self.witness):
            if part is not None:
                part.close()
        self.readers.close()
        self.controller.close()
        if self.panel is not None:
            self.panel.close()
        if self.metrics is not None:
            self.metrics.close()
        self._acquaintance.close()
        self.hub.close()
        self.journal.append(entry("stopped"))
        self.journal.close()
        self._only.release()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _kiosk(self, registrar: Registrar | None, own: Path | None) -> KioskDesk | None:
        if not self.config.kiosk.enabled:
            return None
        from device.kiosk.behind import Behind
        from device.kiosk.desk import KioskDesk

        return KioskDesk(Behind(
            self.config, self.clock, self.places, self._key, self.card,
            state=lambda: self.gatekeeper.state, turned=lambda: self.gatekeeper.turned_mono, put=self.inbox.offer,
            offer=self.credentials.offer, person=self._acquaintance.person, roster=lambda: self.rosters.current,
            status=lambda: self._status, config_path=own or (DEFAULT_PATH if DEFAULT_PATH.exists() else None),
            restart=self._restart(), registrar=registrar))

    def _witness(self) -> Witness | None:
        days = self.config.evidence.days
        evidence = Evidence(self.places.evidence, self._key, days)
        if days:
            return Witness(evidence, self.inbox.note, self.clock)
        evidence.sweep(self.clock.now())  # what was kept before it was switched off goes
        return None

    def _metrics(self) -> Metrics | None:
        if self.config.metrics.port is None:
            return None
        from device.observe.metrics import Metrics

        return Metrics(lambda: self._status)

    def _restart(self) -> Callable[[], None] | None:
        """Ends doord, to be started again; None where no service manager would do that (systemd's sets the name)."""
        return self.requests.stop if "INVOCATION_ID" in os.environ else None

    def _observers(self, others: Sequence[Observer]) -> tuple[Observer, ...]:
        own = (*(self.kiosk.observers if self.kiosk else ()), self.witness, self._drift,
               self.controller if self.controller.is_wanted else None, self.metrics)
        return (*others, *(one for one in own if one is not None))

    def _looked(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Vision's newest frame, for those who show or keep it."""
        if self.kiosk is not None:
            self.kiosk.look(frame, faces)
        if self.witness is not None:
            self.witness.look(frame, faces)
        self.readers.look(frame)

    def _restore_fire(self, initial: Sequence[DoorInput]) -> None:
        """What the wires say at the start, after the fire that was there before it."""
        if self._fire_latch.is_set:
            self.gatekeeper.handle(Fire(self.clock.mono(), True))
            if not any(isinstance(event, Fire) for event in initial):
                self.gatekeeper.handle(Fire(self.clock.mono(), False))
        for event in initial:
            self.inbox.put(event)

    # --- start --------------------------------------------------------------------------------------

    def _note_start(self) -> None:
        roster = self.rosters.current
        self.journal.append(entry("started", version=_version(), model=self.card.model_id,
                                  policy=roster.rules.site.policy_version, **{FLOOR: self.time.floor.isoformat()}))
        if self._set_aside is not None:
            self.journal.append(entry("gallery_rebuilt", file=self._set_aside.name))
        self.journal.append(loaded(roster))
        if warning := sqlite_warning():
            log.warning("%s", warning)

    # --- what other threads tell --------------------------------------------------------------------

    def _degrade(self, reason: str, is_active: bool, detail: str = "") -> None:
        self.inbox.put(Degraded(self.clock.mono(), reason, is_active, detail))

    # --- the door thread ----------------------------------------------------------------------------

    def _do_what_is_asked(self) -> None:
        mono = self.clock.mono()
        if self.requests.take_pairing():
            self.readers.pair(mono)
            self.controller.pair(mono)
        if self.requests.take_reset():
            self.gatekeeper.handle(Command(mono, f"local-{secrets.token_hex(4)}", Verb.RESET, is_local=True,
                                           source="doorctl"))
        if self.requests.take_clock():
            self.time.confirm(self.clock.now(), mono)
            self.journal.append(entry("clock_set", source="doorctl"))

    def _ordered(self, command: Command) -> None:
        self.gatekeeper.handle(command)

    def _stepped(self, state: DoorState, effects: Sequence[Effect]) -> None:
        if self.panel is not None:
            self.panel.stepped(state, effects)

    def _signal(self, code: str) -> None:
        if self.panel is not None:
            self.panel.show(code)
        row = reason(code)
        self.readers.show(row.light, row.sound)

    def _clock_quality_seen(self) -> ClockQuality:
        """As the door thread last judged it; for other threads."""
        return self._quality

    def clock_quality(self) -> ClockQuality:
        """How far the wall clock can be trusted now; the journal's entries say so from here on."""
        quality = self._by_hand.quality() if self._by_hand else self.time.quality(self.clock.now(), self.clock.mono())
        self._quality = quality
        if self.journal.journal is not None:
            self.journal.journal.clock_quality = quality
        return quality

    def _floor_lowered(self, floor: datetime) -> None:
        self.journal.append(entry("clock_set", **{FLOOR: floor.isoformat()}))

    def _hear_relay(self) -> None:
        for ack in self.relay.acks():
            self.relay_pulses += ack.is_on and ack.said is Said.SWITCHED
            if ack.said is Said.READY:
                self._degrade("relay_lost", False)
            if self._acknowledged is not None:
                self._acknowledged(ack)
        if not self.relay.is_alive():
            if "relay_lost" not in self.gatekeeper.state.degraded:
                self.gatekeeper.handle(Degraded(self.clock.mono(), "relay_lost", True))
            self.relay.restart()

    def _each_second(self) -> None:
        self._news.judge(self.rosters.current)
        self.journal.retry()
        self._degrade("journal_failed", self.journal.error is not None)
        self._degrade("disk_full", self.journal.journal is not None and self.journal.journal.is_on_reserve)
        self.hub.each_second()
        self._degrade("clock_lost", self.clock_quality() is ClockQuality.UNTRUSTED)
        self.gatekeeper.plan()
        if self._by_hand is None:
            self._status = self.status()
            write_status(status_path(self.places), self._status)
        self.vigil.each_second()

    def status(self) -> Status:
        """How the terminal is at this moment."""
        return condition_of(self)


def _prepare(where: Places, key: Key, clock: Clock) -> Path | None:
    """Make or mend the gallery on a stand-alone terminal; where there is a hub, door-syncd does that."""
    if is_linked():
        return None
    try:
        return prepare_gallery(where.gallery_db, key, clock)
    except InUse as error:  # doorctl is enrolling somebody: what is there is good enough to start with
        log.warning("%s", error)
        return None


def _timing(config: Config) -> Timing:
    door = config.door
    return Timing(has_contact=config.pins.contact is not None, journal_first=door.journal == "first",
                  held_warning_s=door.held_warning_s, held_alarm_s=door.held_alarm_s,
                  rex_release_s=door.rex_release_s, relock_on_open=door.relock_on_open,
                  fire_auto_reset=door.fire_auto_reset)


def _version() -> str:
    from importlib.metadata import version

    return version("open-door")
