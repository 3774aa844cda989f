"""A kiosk with all that it may know of behind it, for tests: real files, a real server, a door that is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np

from device.clock import SystemClock
from device.config import Config, parse_config
from device.door.decision import Claim, Decision, Now
from device.door.types import Command, CredentialShown, DoorState
from device.face.card import Card
from device.face.types import Box
from device.frame import Frame
from device.inbox import Arrival
from device.kiosk.behind import Behind
from device.kiosk.desk import KioskDesk
from device.kiosk.enrolment.registrar import Registrar
from device.kiosk.session import HEADER
from device.packs import library
from device.roster import RosterKeeper
from device.status import Status
from device.store.cache import CacheReader
from device.store.cache_writer import prepare_gallery
from device.store.journal import Journal
from device.store.places import Places, make_folders, places
from device.store.records import Method, NewEntry
from device.store.seal import load_key

KIOSK: dict[str, Any] = {
    "enabled": True, "port": 0, "card": True, "qr": True, "bell": True, "attendance": True, "enrol": "open",
    "purpose": "Opening the doors of this house", "retention": "As long as you work here",
    "contact": "Reception, extension 100"}
TABLE: dict[str, Any] = {"door": {"lock": "strike", "id": "Front door", "time_zone": "Europe/London"},
                         "kiosk": KIOSK, "screen": {"names": "masked"}, "face": {"liveness": "none"},
                         "pins": {"contact": 22, "rex": 23, "tamper": 24, "fire": 25, "bell": 26}}


def configuration(**sections: dict[str, Any]) -> Config:
    """The table above, with other values where they are given."""
    return parse_config({name: {**TABLE.get(name, {}), **sections.get(name, {})} for name in {*TABLE, *sections}})


class SkippingClock(SystemClock):
    """The machine's clocks, moved on at will: nobody waits for a session to end."""

    def __init__(self) -> None:
        self._skipped_s = 0.0

    def mono(self) -> float:
        return super().mono() + self._skipped_s

    def skip(self, seconds: float) -> None:
        self._skipped_s += seconds


@dataclass
class Door:
    """What the kiosk sees of a terminal, and a client that speaks with it as its own pages do."""

    folder: Path
    config: Config = field(default_factory=configuration)
    clock: SkippingClock = field(default_factory=SkippingClock)
    state: DoorState = field(default_factory=DoorState)
    config_path: Path | None = None
    restart: Callable[[], None] | None = None
    registrar: Registrar | None = None
    is_alive: bool = True
    is_busy: bool = False

    def __post_init__(self) -> None:
        self.shown: list[CredentialShown] = []
        self.put: list[Arrival] = []
        self.where: Places = places({"DOOR_STATE": str(self.folder)})
        make_folders(self.where)
        self.key = load_key(self.where)
        prepare_gallery(self.where.gallery_db, self.key, self.clock)
        self.card: Card = _card()
        self.rosters = RosterKeeper(self.where.gallery_db, self.key, self.card, self.config,
                                    lambda before, now: None, lambda failed: None)
        self.rosters.load()
        self.rosters.release()
        self.journal = Journal.open(self.where.journal_db, self.clock, "b" * 32)
        self._people: CacheReader | None = None
        self.desk = KioskDesk(Behind(
            self.config, self.clock, self.where, self.key, self.card, state=lambda: self.state, turned=self._turned,
            put=self._put, offer=self._offer, person=self._person, roster=self._roster, status=self._status,
            config_path=self.config_path, restart=self.restart, registrar=self.registrar))
        self.desk.start()
        self.client = httpx.Client(base_url=self.address, timeout=30.0)

    @property
    def address(self) -> str:
        return self.desk.address.rstrip("/")

    def close(self) -> None:
        self.client.close()
        self.desk.close()
        self.journal.close()
        self.rosters.release()

    def rest(self) -> None:
        """As it was at the beginning, and a long time later."""
        self.state, self.is_alive, self.is_busy = DoorState(), True, False
        self.shown.clear()
        self.put.clear()
        self.client.cookies.clear()
        self.clock.skip(3600.0)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(f"/{path}", headers=headers)

    def post(self, path: str, body: Any, token: str = "") -> httpx.Response:
        return self.client.post(f"/{path}", json=body, headers={"origin": self.address, HEADER: token})

    def decided(self, decision: Decision) -> None:
        """Tell the observers, as the door thread does."""
        for observer in self.desk.observers:
            observer.decided(decision, Now(self.clock.now(), self.clock.mono()))

    def recognised(self, person_id: str, method: Method = Method.FACE, reason: str = "face_granted") -> None:
        """The door has made somebody out by face or card."""
        claim = Claim(person_id, frozenset({method}), track_id=1 if method is Method.FACE else None)
        self.decided(Decision(reason.endswith("granted"), reason, person_id, 5.0, claim=claim))

    def look(self, frame: Frame, *faces: Box) -> None:
        self.desk.look(frame, faces)

    def entries(self, reason: str) -> list[NewEntry]:
        """What the kiosk wanted to have journalled."""
        return [one for one in self.put if isinstance(one, NewEntry) and one.reason == reason]

    def commands(self) -> list[Command]:
        return [one for one in self.put if isinstance(one, Command)]

    def _turned(self) -> float:
        return self.clock.mono() if self.is_alive else float("-inf")

    def _offer(self, shown: CredentialShown) -> bool:
        if not self.is_busy:
            self.shown.append(shown)
        return not self.is_busy

    def _put(self, arrival: Arrival) -> bool:
        if self.is_busy:
            return False
        self.put.append(arrival)
        return True

    def _person(self, person_id: str) -> Any:
        reader = CacheReader.open(self.where.gallery_db, self.key)
        try:
            return reader.person(person_id)
        finally:
            reader.close()

    def _roster(self) -> Any:
        self.rosters.refresh()
        self.rosters.release()
        return self.rosters.current

    def _status(self) -> Status:
        roster = self.rosters.current
        plain = {"int": 0, "float": 0.0, "str": "", "bool": False}
        found = {one.name: plain.get(str(one.type), ()) for one in fields(Status)}
        return Status(**{
            **found, "door_id": self.config.door.id, "camera": "rehearsal", "camera_state": "fine", "fps": 30.0,
            "model_id": self.card.model_id, "templates": len(roster.gallery), "people": roster.people,
            "threshold": roster.threshold.score, "fpir_asked": self.config.face.fpir,
            "fpir_met": roster.threshold.is_budget_met, "liveness": "normal", "clock": "synced",
            "journal_entries": 3, "relay_alive": True, "memory_mb": 212.0})


@cache
def _card() -> Card:
    return library.open_pack(None)


def with_state(door: Door, **changes: Any) -> None:
    """The door's state is another one now, and the screen hears of it."""
    door.state = replace(door.state, **changes)
    door.desk.stream.changed()


def within(is_so: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_so():
                return
        except httpx.ConnectError:
            pass
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def picture(address: str, headers: dict[str, str] | None = None) -> Any:
    """The first picture of a stream."""
    with httpx.stream("GET", address, timeout=30.0, headers=headers) as answer:
        data = b""
        for part in answer.iter_bytes():
            data += part
            if data.count(b"--frame") >= 2:
                break
    image = data.split(b"\r\n\r\n", 1)[1].split(b"\r\n--frame", 1)[0]
    return cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
