"""Plays a scenario through the real terminal: hand-held clock, mock pins, real stores, real policy and machine.

Only what sees is left out: sightings are put in by hand. What comes of it is told line by line: every journal entry,
and every movement of the lock's and the second relay's line, in local time.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device.clock import ClockQuality, HandClock
from device.config import PinsConfig
from device.credentials.card import Card
from device.credentials.pin import pin_secret
from device.credentials.qr_pass import PassPayload, pass_text
from device.door.types import Command, CredentialShown, Degraded, Mode, Verb
from device.errors import ConfigError
from device.hardware.inputs import NAMES as INPUTS
from device.hardware.link import HandRelay
from device.hardware.pins import VARIABLE, open_factory
from device.policy_file import parse_policy
from device.rehearsal.scenario import Actor, Deed, HandedPass, Scenario
from device.sighting import Judgement, Outcome, Sighting
from device.store.cache_writer import CacheWriter
from device.store.places import make_folders, places
from device.store.policy_records import put_policy
from device.store.records import Credential, Direction, Entry, Method, Person, PersonClass, RevokedPass
from device.store.seal import load_key
from device.store.trust import Verifier, key_id_of
from device.terminal import ByHand, Terminal

WIRES = {"contact": "closed", "other_door": "closed", "rex": "pressed", "tamper": "off", "fire": "off",
         "bell": "pressed"}
"""Deed -> its value at which the wire's contact is closed."""

PINS = {"other_door": "interlock"}
"""Deed -> the pin's name, where that is another one."""

AT_REST = ("contact", "tamper", "fire", "interlock")
"""Pins whose contact is closed while all is well."""

STEPS = ((10.0, 0.1), (120.0, 0.5), (600.0, 5.0))
"""How finely time passes: so long after a deed in steps of so many seconds, later from minute to minute."""

OMITTED = frozenset({"started", "stopped", "gallery_loaded", "gallery_rebuilt"})
"""Entries about the terminal's own beginning and end, which are no part of what happens at the door."""

_ID_LENGTH = 32
_MOST_TURNS = 200
_HIDDEN = frozenset({"model", "track", "frames", "score", "threshold", "margin", "generation", "templates", "command",
                     "policy", "rejected"})


def play(scenario: Scenario) -> list[str]:
    """The day, line by line."""
    with tempfile.TemporaryDirectory(prefix="door-scenario-") as folder:
        day = Day(scenario, Path(folder))
        try:
            return day.play()
        finally:
            day.close()


class Day:
    """One scenario under way."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario, self._folder = scenario, folder
        self._where = places({"DOOR_STATE": str(folder)})
        self._clock = HandClock(scenario.start.astimezone(timezone.utc))
        self._zone = ZoneInfo(scenario.config.door.time_zone)
        self._quality = ClockQuality.SYNCED
        self._hub = Ed25519PrivateKey.generate()
        self._ids = {actor.id: _id(actor.id) for actor in scenario.people}
        self._names = {person_id: name for name, person_id in self._ids.items()}
        self._track = self._told = 0
        self._begun = self._clock.mono()
        self._open_wires: dict[str, bool] = {}
        self._lines: list[str] = []
        self._levels: dict[str, bool] = {}
        make_folders(self._where)
        self._write(self._enrol)
        self._terminal = self._open()

    def play(self) -> list[str]:
        for deed in self._scenario.deeds:
            self._pass_time(deed.at)
            self._do(deed)
            self._settle()
        return self._lines

    def close(self) -> None:
        self._terminal.close()

    # --- time --------------------------------------------------------------------------------------------

    def _pass_time(self, until: float) -> None:
        """Let time pass until so many seconds after the start, finely at first, and watch what comes of it."""
        begun = now = self._elapsed()
        while now < until - 1e-9:
            to_minute = 60.0 - self._clock.now().timestamp() % 60.0
            step = next((step for span, step in STEPS if now - begun < span), to_minute)
            self._clock.advance(min(step, until - now))
            self._settle()
            now = self._elapsed()

    def _elapsed(self) -> float:
        return round(self._clock.mono() - self._begun, 3)

    def _settle(self) -> None:
        """Let the terminal turn until nothing waits, and write down what came of it."""
        for _ in range(_MOST_TURNS):
            self._terminal.turn(0.0)
            if self._terminal.inbox.is_empty:
                break
        self._look_at_pins()
        self._look_at_journal()

    # --- deeds -------------------------------------------------------------------------------------------

    def _do(self, deed: Deed) -> None:
        getattr(self, f"_do_{deed.what}", self._do_wire)(deed)

    def _do_wait(self, deed: Deed) -> None:
        """Nothing happens."""

    def _do_wire(self, deed: Deed) -> None:
        self._drive(PINS.get(deed.what, deed.what), deed.value == WIRES[deed.what])

    def _do_bounce(self, deed: Deed) -> None:
        """A contact that bounces, or chatters: it ends where it began."""
        is_open = bool(self._pin(deed.value).state)
        for number in range(int(deed.detail["times"]) * 2):
            self._drive(deed.value, is_open == (number % 2 == 0))
            self._clock.advance(float(deed.detail["every"]))
            self._settle()

    def _do_face(self, deed: Deed) -> None:
        self._see(deed, Outcome.KNOWN, person_id=self._ids.get(deed.value, _id(str(deed.value))), score=0.8,
                  threshold=0.6, margin=0.3)

    def _do_stranger(self, deed: Deed) -> None:
        self._see(deed, Outcome.UNKNOWN, score=0.2, threshold=0.6)

    def _do_attack(self, deed: Deed) -> None:
        self._see(deed, Outcome.ATTACK, judgements=(Judgement("passive", 0.02, str(deed.value)),))

    def _do_unproved(self, deed: Deed) -> None:
        self._see(deed, Outcome.UNPROVED)

    def _see(self, deed: Deed, outcome: Outcome, **more: Any) -> None:
        """Three sightings of one track: a visitor stays in view."""
        self._track += 1
        track = int(deed.detail.get("track", self._track))
        for _ in range(3):
            mono = self._clock.mono()
            self._terminal.inbox.see(Sighting(track, mono, outcome, "model", frames=3, since_mono=mono, **more))
            self._settle()

    def _do_card(self, deed: Deed) -> None:
        self._show(deed, Method.CARD, Card.parse(str(deed.value)).secret(), "wiegand")

    def _do_typed(self, deed: Deed) -> None:
        text = str(deed.value)
        self._show(deed, Method.PIN, (text if "*" in text else f"*{text}").encode(), "keypad")

    def _do_qr(self, deed: Deed) -> None:
        handed = {one.id: one for one in self._scenario.passes}
        text = self._pass(handed[deed.value]) if deed.value in handed else str(deed.value)
        self._show(deed, Method.QR, text.encode(), "camera")

    def _show(self, deed: Deed, method: Method, secret: bytes, reader: str) -> None:
        shown = CredentialShown(self._clock.mono(), method, secret, str(deed.detail.get("reader", reader)),
                                Direction(deed.detail.get("direction", "entry")))
        self._terminal.inbox.put(self._terminal.credentials.claim_of(shown))

    def _do_release(self, deed: Deed) -> None:
        self._order(Verb.RELEASE, seconds=float(deed.value))

    def _do_reset(self, deed: Deed) -> None:
        is_local = deed.value == "local"
        self._order(Verb.RESET, is_local=is_local, source="doorctl" if is_local else "hub")

    def _do_mode(self, deed: Deed) -> None:
        seconds = deed.detail.get("until")
        until = None if seconds is None else self._clock.mono() + float(seconds)
        self._order(Verb.MODE, mode=Mode(deed.value), until_mono=until)

    def _order(self, verb: Verb, **more: Any) -> None:
        self._terminal.inbox.put(Command(self._clock.mono(), "c", verb, **more))

    def _do_fault(self, deed: Deed) -> None:
        self._terminal.inbox.put(Degraded(self._clock.mono(), str(deed.value), True))

    def _do_well(self, deed: Deed) -> None:
        self._terminal.inbox.put(Degraded(self._clock.mono(), str(deed.value), False))

    def _do_clock(self, deed: Deed) -> None:
        self._quality = ClockQuality(deed.value)

    def _do_step_wall(self, deed: Deed) -> None:
        self._clock.step_wall(float(deed.value))

    def _do_policy(self, deed: Deed) -> None:
        records = parse_policy(deed.value)

        def replace_policy(writer: CacheWriter) -> None:
            put_policy(writer, records)

        self._write(replace_policy)
        self._terminal.rosters.catch_up()

    def _do_remove(self, deed: Deed) -> None:
        self._write(lambda writer: writer.drop_person(self._ids[deed.value]))
        self._terminal.rosters.catch_up()

    def _do_revoke(self, deed: Deed) -> None:
        until = next(one.valid_until for one in self._scenario.passes if one.id == deed.value)
        self._write(lambda writer: writer.put_record("pass", _id(deed.value), RevokedPass(_id(deed.value), until)))
        self._terminal.rosters.catch_up()

    def _do_restart(self, deed: Deed) -> None:
        """The terminal ends in order and starts again; wires keep their positions."""
        self._open_wires = {name: bool(pin.state) for name in _wired(self._scenario.config.pins)
                            if (pin := self._pin(name)) is not None}
        self._terminal.close()
        self._terminal = self._open()

    # --- parts -------------------------------------------------------------------------------------------

    def _open(self) -> Terminal:
        config = self._scenario.config
        self._relay = HandRelay(open_factory({VARIABLE: "mock"}), config.pins.lock, config.pins.active_low,
                                self._clock)
        by_hand = ByHand(self._relay, self._take_wires, lambda: self._quality, Verifier([self._public()]))
        terminal = Terminal(config, self._where, self._clock, by_hand=by_hand)
        terminal.open()
        return terminal

    def _take_wires(self, factory: Any) -> None:
        """Put the wires where they were, or at rest."""
        self._factory = factory
        for name in _wired(self._scenario.config.pins):
            self._drive(name, not self._open_wires.get(name, name not in AT_REST))

    def _pin(self, name: str) -> Any:
        number = getattr(self._scenario.config.pins, name)
        return None if number is None else self._factory.pin(number)

    def _drive(self, name: str, is_closed: bool) -> None:
        pin = self._pin(name)
        if pin is None:
            raise ConfigError(f"the scenario moves pins.{name}, which its terminal does not have")
        (pin.drive_low if is_closed else pin.drive_high)()

    def _pass(self, one: HandedPass) -> str:
        person = bytes.fromhex(self._ids[one.person]) if one.person is not None else None
        payload = PassPayload(key_id_of(self._public()), bytes.fromhex(_id(one.id)), one.door, one.group,
                              int(one.valid_from.timestamp()), int(one.valid_until.timestamp()), one.is_once, person)
        return pass_text(payload, self._hub.sign)

    def _public(self) -> bytes:
        return self._hub.public_key().public_bytes_raw()

    def _write(self, change: Callable[[CacheWriter], object]) -> None:
        writer = CacheWriter.open(self._where.gallery_db, load_key(self._where), self._clock)
        try:
            with writer.together():
                change(writer)
        finally:
            writer.close()

    def _enrol(self, writer: CacheWriter) -> None:
        put_policy(writer, self._scenario.policy)
        for actor in self._scenario.people:
            person_id = self._ids[actor.id]
            writer.put_person(Person(person_id, actor.id, actor.groups, PersonClass(actor.person_class),
                                     actor.valid_from, actor.valid_until))
            for credential in _credentials(actor, person_id):
                writer.put_credential(credential)

    # --- what came of it ---------------------------------------------------------------------------------

    def _look_at_pins(self) -> None:
        second = self._terminal.panel is not None and self._terminal.panel.is_second_on
        for name, level in (("lock", self._relay.is_on), ("relay2", second)):
            if self._levels.get(name, False) is not level:
                self._levels[name] = level
                self._say(self._clock.now(), f"{name} {'on' if level else 'off'}")

    def _look_at_journal(self) -> None:
        journal = self._terminal.journal.journal
        if journal is None:
            return
        for entry in journal.entries(self._told):
            self._told = entry.seq
            if entry.reason not in OMITTED:
                self._say(entry.at, self._told_of(entry))

    def _told_of(self, entry: Entry) -> str:
        parts = [entry.reason]
        if entry.person_id is not None:
            parts.append(self._names.get(entry.person_id, "somebody"))
        parts += [f"{key}={self._plain(value)}" for key, value in entry.detail if key not in _HIDDEN]
        return "  ".join(parts)

    def _plain(self, value: object) -> str:
        words = str(value).split()
        return " ".join(self._names.get(word, word if len(word) < _ID_LENGTH else "…") for word in words)

    def _say(self, at: datetime, text: str) -> None:
        local = at.astimezone(self._zone)
        self._lines.append(f"{local:%a %H:%M:%S}.{local.microsecond // 100_000}  {text}")


def _credentials(actor: Actor, person_id: str) -> list[Credential]:
    found = []
    if actor.card is not None:
        found.append(Credential(_id(f"{actor.id} card"), person_id, Method.CARD, Card.parse(actor.card).secret()))
    for name, typed, is_duress in (("pin", actor.pin, False), ("duress", actor.duress_pin, True)):
        if typed is not None:
            number, _, pin = typed.partition("*")
            found.append(Credential(_id(f"{actor.id} {name}"), person_id, Method.PIN, pin_secret(number, pin),
                                    is_duress))
    return found


def _wired(pins: PinsConfig) -> list[str]:
    return [name for name in INPUTS if getattr(pins, name) is not None]


def _id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_ID_LENGTH]
