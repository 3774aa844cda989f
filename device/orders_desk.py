"""The hub's orders as doord obeys them: commands once, desired state until told otherwise.

door-syncd only hands over the hub's signed bytes (`store.handover`); here the signature, the terminal, the boot, the
time and the repetition are judged, because the process that has the network is not trusted. Outcomes go into the
journal, where door-syncd finds them. Owned by the door thread, which calls `turn` in its loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

from device.clock import Clock, ClockQuality
from device.door.reasons import entry
from device.door.types import Command, Mode, Verb
from device.errors import ConfigError, SealBroken, StoreError
from device.link import Link, load_private, read_link
from device.store.cache import CacheReader
from device.store.handover import HandoverReader, Letter
from device.store.keeper import JournalKeeper
from device.store.orders import Desired, DesiredBody, Order, OrderBody, read
from device.store.places import Places, is_linked, link_path
from device.store.records import Entry, NewEntry
from device.store.seal import Key
from device.store.trust import MessageRefused, Opener, Verifier, open_signed, place

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S = 2.0
# A release is for somebody who stands at the door now: the hub gives it 10 s, and no signed order may ask for more.
LONGEST_LIFE = {"release": timedelta(seconds=60)}
LONGEST = timedelta(hours=1)
SKEW = timedelta(seconds=5)  # an order may be dated so far ahead of this terminal's clock
REMEMBERED = 10_000
LOOK_BACK = 5000  # entries of the journal that tell what was obeyed before this start
DESIRED = "desired-"

_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)
_VERBS = {"release": Verb.RELEASE, "reset": Verb.RESET}
_MODES = {"normal": Mode.NORMAL, "free": Mode.FREE, "lockdown": Mode.LOCKDOWN}


class Refused(Exception):
    """An order that is not obeyed; the text is the journal's `why`."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word counts: the hub's keys, and the key that opens what is sealed to this terminal."""

    link: Link
    verifier: Verifier
    opener: Opener


class OrdersDesk:
    """handle    steps the door's machine; journal writes into it; quality judges the clock
    past      entries of the journal, newest last, from which executed commands and the desired version are known
    """

    def __init__(self, gallery_db: Path, key: Key, trust: Trust, boot_id: str, clock: Clock,
                 handle: Callable[[Command], None], journal: Callable[[NewEntry], object],
                 quality: Callable[[], ClockQuality], past: Iterable[Entry] = ()) -> None:
        self._path, self._key, self._trust, self._boot_id, self._clock = gallery_db, key, trust, boot_id, clock
        self._handle, self._journal, self._quality = handle, journal, quality
        self._reader: CacheReader | None = None
        self._data_version = -1
        self._number = 0
        self._next_try = 0.0
        self._executed: dict[str, None] = {}
        self._past: set[str] = set()  # commands with an outcome before this start, which may still lie in the inbox
        self._floor = 0  # the newest desired version that was ever obeyed
        self._is_locked_down = False  # by the hub's word, when this start came
        self._desired: DesiredBody | None = None
        self._held: tuple[int, str] | None = None  # version and mode that the machine was last told
        self.version = 0
        self.is_stale = False
        self.journal_ahead = ""
        for one in past:
            self._remember(one)

    def turn(self) -> None:
        """See whether something was handed over, and whether a desired mode begins or ends."""
        if self._clock.mono() >= self._next_try:
            try:
                self._look()
            except (StoreError, SealBroken) as error:
                log.debug("the hub's orders cannot be read: %s", error)
                self._close()
                self._next_try = self._clock.mono() + RETRY_S
        self._hold()

    def close(self) -> None:
        self._close()

    def acked(self, journal_id: str) -> int:
        """Up to where the hub has stored a journal: what may be pruned. 0 where that is not known."""
        try:
            return self._reader.acked(journal_id) if self._reader is not None else 0
        except StoreError:
            return 0

    # --- what is handed over ---------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._reader is None:
            self._reader = CacheReader.open(self._path, self._key)
        version = self._reader.data_version()
        if version == self._data_version:
            return
        handed = HandoverReader(self._reader)
        for letter in handed.inbox(self._number):
            self._number = letter.number
            if letter.command_id not in self._past:
                self._letter(letter)
        self._past.clear()
        desired = handed.desired()
        if desired is not None and desired[0] > self.version:
            self._take_desired(desired[1])
        self.is_stale = bool(handed.sign("stale"))
        self.journal_ahead = handed.sign("journal_ahead")
        self._data_version = version

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._data_version = None, -1

    # --- commands --------------------------------------------------------------------------------------------

    def _letter(self, letter: Letter) -> None:
        try:
            order, body = self._order(letter)
            self._judge(order, body)
            self._obey(order.command_id, body)
        except Refused as refused:
            log.warning("command %s is refused: %s", letter.command_id[:64], refused)
            self._journal(entry("command_refused", command=letter.command_id[:64], source="hub", why=str(refused)))

    def _order(self, letter: Letter) -> tuple[Order, OrderBody]:
        order = self._opened(letter.data, "command", Order)
        if order.command_id != letter.command_id:
            raise Refused("another command's id")
        if order.terminal_id != self._trust.link.terminal_id:
            raise Refused("for another terminal")
        bound_to = place("command", order.terminal_id, order.command_id)
        return order, self._unsealed(order.sealed, bound_to, OrderBody)

    def _judge(self, order: Order, body: OrderBody) -> None:
        """Refused where it is for another boot, too late, too early, or done already."""
        if order.command_id in self._executed:
            raise Refused("done already")
        if order.boot_id != self._boot_id:
            raise Refused("for another boot")
        if self._quality() is ClockQuality.UNTRUSTED:
            raise Refused("the clock is not trusted")
        now, issued, expires = self._clock.now(), _moment(order.issued_ms), _moment(order.expires_ms)
        if expires - issued > LONGEST_LIFE.get(body.verb, LONGEST) or expires <= issued:
            raise Refused("no such time to live is allowed")
        if now >= expires:
            raise Refused("expired")
        if issued > now + SKEW:
            raise Refused("from the future")

    def _obey(self, command_id: str, body: OrderBody) -> None:
        self._keep(command_id)
        verb = _VERBS.get(body.verb)
        if verb is not None:
            # The machine has the note written before the relay moves.
            self._handle(Command(self._clock.mono(), command_id, verb, seconds=body.seconds))
        elif body.verb == "report":
            self._journal(entry("command_done", command=command_id, source="hub", verb=body.verb))
        else:
            raise Refused(f"{body.verb} is not available on this terminal")

    def _keep(self, command_id: str) -> None:
        self._executed[command_id] = None
        while len(self._executed) > REMEMBERED:
            del self._executed[next(iter(self._executed))]

    # --- desired state ---------------------------------------------------------------------------------------

    def _take_desired(self, data: bytes) -> None:
        try:
            desired = self._opened(data, "desired", Desired)
            if desired.terminal_id != self._trust.link.terminal_id:
                raise Refused("for another terminal")
            if desired.version < max(self._floor, self.version):
                raise Refused("an older one than was obeyed already")
            body = self._unsealed(desired.sealed, place("desired", desired.terminal_id, desired.version), DesiredBody)
        except Refused as refused:
            log.error("a desired state is refused: %s", refused)
            return
        self.version, self._desired = desired.version, body

    def _hold(self) -> None:
        """Tell the machine the mode that is desired now, where it has not been told."""
        if self._desired is None:
            # A lockdown does not end because somebody took the hub's word for it away.
            if self._is_locked_down and self._held is None:
                self._tell(self._floor, "lockdown")
            return
        wanted = self._wanted(self._desired)
        if wanted is not None:
            self._tell(self.version, wanted, "-ended" if wanted != self._desired.mode else "")

    def _tell(self, version: int, mode: str, ended: str = "") -> None:
        if (version, mode) != self._held:
            self._held = (version, mode)
            self._handle(Command(self._clock.mono(), f"{DESIRED}{version}{ended}", Verb.MODE, mode=_MODES[mode]))

    def _wanted(self, desired: DesiredBody) -> str | None:
        """The mode by the wall clock; None where it cannot be known, and what is held stays.

        By a clock that is not trusted no lockdown ends and no free begins.
        """
        if desired.mode_until_ms is None or desired.mode == "normal":
            return desired.mode
        if self._quality() is ClockQuality.UNTRUSTED:
            return desired.mode if desired.mode == "lockdown" else None
        return desired.mode if self._clock.now() < _moment(desired.mode_until_ms) else "normal"

    # --- inside ----------------------------------------------------------------------------------------------

    def _opened(self, data: bytes, leaf: str, kind: type[T]) -> T:
        try:
            payload = open_signed(data, self._trust.link.topic(leaf), self._trust.verifier)
        except MessageRefused:
            raise Refused("not signed by the hub") from None
        return _read(payload, kind)

    def _unsealed(self, sealed: bytes, bound_to: bytes, kind: type[T]) -> T:
        try:
            plain = self._trust.opener.open(sealed, bound_to)
        except SealBroken:
            raise Refused("not sealed to this terminal") from None
        return _read(plain, kind)

    def _remember(self, one: Entry) -> None:
        command = dict(one.detail).get("command")
        if not isinstance(command, str):
            return
        if one.kind == "mode" and command.startswith(DESIRED):
            digits = command.removeprefix(DESIRED).partition("-")[0]
            self._is_locked_down = one.reason == "mode_lockdown"
            self._floor = max(self._floor, int(digits) if digits.isdecimal() and len(digits) < 20 else 0)
        else:
            self._past.add(command)
            if one.reason != "command_refused":
                self._keep(command)


def open_desk(where: Places, key: Key, boot_id: str, clock: Clock, handle: Callable[[Command], None],
              journal: JournalKeeper, quality: Callable[[], ClockQuality]) -> OrdersDesk | None:
    """The desk of a terminal that belongs to a hub; None on one that stands alone. Where the link cannot be read the
    door goes on without orders."""
    if not is_linked():
        return None
    try:
        link = read_link(link_path())
        trust = Trust(link, Verifier(link.hub_signing), Opener(load_private(link.sealing_key)))
    except (ConfigError, ValueError) as error:
        log.error("no orders of the hub are obeyed: %s", error)
        return None
    past = journal.journal.last(LOOK_BACK) if journal.journal is not None else []
    return OrdersDesk(where.gallery_db, key, trust, boot_id, clock, handle, journal.append, quality, past)


def _read(data: bytes, kind: type[T]) -> T:
    try:
        return read(data, kind)
    except MessageRefused:
        raise Refused("malformed") from None


def _moment(ms: int) -> datetime:
    """Never beyond what a datetime can hold: an order until then is refused for its length."""
    return _BEGINNING + timedelta(milliseconds=min(ms, 250_000_000_000_000))
