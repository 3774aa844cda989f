"""The hub's orders as doord obeys them: commands once, desired state until told otherwise; its time and its keys.

door-syncd only hands over the hub's signed bytes (`store.handover`); here the signature, the terminal, the boot, the
time and the repetition are judged, because the process that has the network is not trusted. Outcomes go into the
journal, where door-syncd finds them. Owned by the door thread, which calls `turn` in its loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from device.clock import Clock, ClockQuality
from device.desired_state import DESIRED, DesiredState, moment
from device.door.reasons import entry
from device.door.types import Command, Verb
from device.errors import ConfigError, SealBroken, StoreError
from device.link import Link, load_private, read_link
from device.store.cache import CacheReader
from device.store.handover import HandoverReader, Letter
from device.store.keeper import JournalKeeper
from device.store.orders import Desired, Order, unseal, unseal_head
from device.store.places import Places, is_linked, link_path
from device.store.records import Entry, NewEntry
from device.store.seal import Key
from device.store.terminal_records import TerminalConfig, terminal_config
from device.store.trust import MessageRefused, Opener, Verifier, open_signed
from device.store.trust_chain import TrustChain

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S = 2.0
# A release is for somebody who stands at the door now: the hub gives it 10 s, and no signed order may ask for more.
LONGEST_LIFE = {"release": timedelta(seconds=60)}
LONGEST = timedelta(hours=1)
SKEW = timedelta(seconds=5)  # an order may be dated so far ahead of this terminal's clock
REMEMBERED = 10_000
LOOK_BACK = 5000  # entries of the journal that tell what was obeyed before this start

_VERBS = {"release": Verb.RELEASE, "reset": Verb.RESET}


class Refused(Exception):
    """An order that is not obeyed; the text is the journal's `why`."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word counts: the hub's keys, and the key that opens what is sealed to this terminal."""

    link: Link
    chain: TrustChain
    opener: Opener


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told what the hub says besides orders.

    heard      the hub's time in milliseconds since 1970, and the monotonic moment at which it was read here
    configure  settings of the version that is wanted; once for each version and start. Whoever applies them writes
               `config_changed` with the detail `version` into the journal, which is what the hub is told
    """

    heard: Callable[[int, float], None] = lambda time_ms, mono: None
    configure: Callable[[TerminalConfig], None] = lambda config: None


class OrdersDesk:
    """handle    steps the door's machine; journal writes into it; quality judges the clock
    past      entries of the journal, newest last, from which executed commands, the desired version and that of the
              configuration are known

    is_stale, lapsed, journal_ahead are what door-syncd says of the link: that the hub is silent, which groups hold no
    longer for want of its word, and which journal must not go on.
    """

    def __init__(self, gallery_db: Path, key: Key, trust: Trust, boot_id: str, clock: Clock,
                 handle: Callable[[Command], None], journal: Callable[[NewEntry], object],
                 quality: Callable[[], ClockQuality], past: Iterable[Entry] = (), told: Told | None = None) -> None:
        self._path, self._key, self._trust, self._boot_id, self._clock = gallery_db, key, trust, boot_id, clock
        self._handle, self._journal, self._quality, self._told = handle, journal, quality, told or Told()
        self._reader: CacheReader | None = None
        self._data_version = -1
        self._letter_number = 0
        self._next_try = 0.0
        self._executed: dict[str, None] = {}
        self._keys_noted = 0
        self._past: set[str] = set()  # commands with an outcome before this start, which may still lie in the inbox
        self._state = DesiredState(clock, handle, quality)
        self._config = 0  # the version of the configuration that was applied, or handed over to be
        self._head = b""
        self._head_number = 0
        self.is_stale = False
        self.lapsed: frozenset[str] = frozenset()
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
        self._state.hold()

    @property
    def pass_keys(self) -> Verifier:
        """The hub's signing keys that count now; the object is kept current."""
        return self._trust.chain.verifier

    def is_lapsed(self, group: str) -> bool:
        """Whether a group's persons count as unknown, because the hub has been silent for longer than it may be."""
        return group in self.lapsed

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
        for data in handed.announcements():
            self._follow_keys(data)
        self._hear(handed.head())
        for letter in handed.inbox(self._letter_number):
            self._letter_number = letter.number
            if letter.command_id not in self._past:
                self._letter(letter)
        self._past.clear()
        desired = handed.desired()
        if desired is not None and desired[0] > self._state.version:
            self._take_desired(desired[1])
        self._take_config(self._reader)
        self.is_stale = bool(handed.sign("stale"))
        self.journal_ahead = handed.sign("journal_ahead")
        self.lapsed = frozenset(filter(None, handed.sign("lapsed").split(",")))
        self._data_version = version

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._data_version = None, -1

    # --- keys, time, configuration ---------------------------------------------------------------------------

    def _follow_keys(self, data: bytes) -> None:
        chain = self._trust.chain
        try:
            if chain.follow(data) and chain.number > self._keys_noted:
                self._keys_noted = chain.number
                self._journal(entry("config_changed", hub_keys=chain.number, names=" ".join(chain.key_ids)))
        except MessageRefused as error:
            # One from before this terminal was claimed is signed by a key that it never knew.
            log.debug("an announcement of the hub's keys is passed over: %s", error)

    def _hear(self, data: bytes) -> None:
        """Tell the time by a head that answers this boot; of two the one with the higher number is the later."""
        if not data or data == self._head:
            return
        self._head = data
        try:
            _, body = unseal_head(self._signed(data, "pages"), self._trust.opener)
        except (Refused, MessageRefused, SealBroken) as error:
            log.warning("a head of the hub is refused: %s", error)
            return
        if body.boot_id == self._boot_id and body.number > self._head_number:
            self._head_number = body.number
            self._told.heard(body.issued_ms, self._clock.mono())

    def _take_config(self, reader: CacheReader) -> None:
        """Hand over the configuration once its text and the wish for it are both there."""
        wanted = self._state.config_version
        if wanted <= self._config:
            return
        try:
            found = terminal_config(reader)
        except SealBroken as error:
            log.error("no configuration is taken over: %s", error)
            return
        if found is not None and found.version == wanted:
            self._config = wanted
            self._told.configure(found)

    # --- commands --------------------------------------------------------------------------------------------

    def _letter(self, letter: Letter) -> None:
        try:
            order = self._order(letter)
            self._judge(order)
            self._obey(order)
        except Refused as refused:
            log.warning("command %s is refused: %s", letter.command_id[:64], refused)
            self._journal(entry("command_refused", command=letter.command_id[:64], source="hub", why=str(refused)))

    def _order(self, letter: Letter) -> Order:
        order = self._opened(letter.data, "command", Order)
        if order.command_id != letter.command_id:
            raise Refused("another command's id")
        if order.terminal_id != self._trust.link.terminal_id:
            raise Refused("for another terminal")
        return order

    def _judge(self, order: Order) -> None:
        """Refused where it is for another boot, too late, too early, or done already."""
        if order.command_id in self._executed:
            raise Refused("done already")
        if order.boot_id != self._boot_id:
            raise Refused("for another boot")
        if self._quality() is ClockQuality.UNTRUSTED:
            raise Refused("the clock is not trusted")
        now, issued, expires = self._clock.now(), moment(order.issued_ms), moment(order.expires_ms)
        if expires - issued > LONGEST_LIFE.get(order.verb, LONGEST) or expires <= issued:
            raise Refused("no such time to live is allowed")
        if now >= expires:
            raise Refused("expired")
        if issued > now + SKEW:
            raise Refused("from the future")

    def _obey(self, order: Order) -> None:
        self._keep(order.command_id)
        verb = _VERBS.get(order.verb)
        if verb is not None:
            # The machine has the note written before the relay moves.
            self._handle(Command(self._clock.mono(), order.command_id, verb, seconds=order.seconds))
        elif order.verb == "report":
            self._journal(entry("command_done", command=order.command_id, source="hub", verb=order.verb))
        else:
            raise Refused(f"{order.verb} is not available on this terminal")

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
            if not self._state.take(desired):
                raise Refused("an older one than was obeyed already")
        except Refused as refused:
            log.error("a desired state is refused: %s", refused)

    # --- inside ----------------------------------------------------------------------------------------------

    def _opened(self, data: bytes, leaf: str, kind: type[T]) -> T:
        try:
            return unseal(self._signed(data, leaf), self._trust.link.topic(leaf), self._trust.opener, kind)
        except SealBroken:
            raise Refused("not sealed to this terminal") from None
        except MessageRefused:
            raise Refused("malformed") from None

    def _signed(self, data: bytes, leaf: str) -> bytes:
        """What the hub signed for one of this terminal's topics."""
        try:
            return open_signed(data, self._trust.link.topic(leaf), self._trust.chain.verifier)
        except MessageRefused:
            raise Refused("not signed by the hub") from None

    def _remember(self, one: Entry) -> None:
        detail = dict(one.detail)
        command, version = detail.get("command"), detail.get("version")
        if one.reason == "config_changed" and isinstance(version, int):
            self._config = version
        self._keys_noted = max(self._keys_noted, keys_followed([one]))
        if not isinstance(command, str):
            return
        if one.kind == "mode" and command.startswith(DESIRED):
            self._state.remember(command, one.reason)
        else:
            self._past.add(command)
            if one.reason != "command_refused":
                self._keep(command)


def open_desk(where: Places, key: Key, boot_id: str, clock: Clock, handle: Callable[[Command], None],
              journal: JournalKeeper, quality: Callable[[], ClockQuality],
              told: Told | None = None) -> OrdersDesk | None:
    """The desk of a terminal that belongs to a hub; None on one that stands alone. Where the link cannot be read the
    door goes on without orders."""
    if not is_linked():
        return None
    past = journal.journal.last(LOOK_BACK) if journal.journal is not None else []
    try:
        link = read_link(link_path())
        trust = Trust(link, TrustChain(link.hub_signing, link.hub_sealing, keys_followed(past)),
                      Opener(load_private(link.sealing_key)))
    except (ConfigError, ValueError) as error:
        log.error("no orders of the hub are obeyed: %s", error)
        return None
    return OrdersDesk(where.gallery_db, key, trust, boot_id, clock, handle, journal.append, quality, past, told)


def keys_followed(past: Iterable[Entry]) -> int:
    """The number of the newest announcement of the hub's keys that was followed; 0 where none was."""
    numbers = [dict(one.detail).get("hub_keys") for one in past if one.reason == "config_changed"]
    return max((number for number in numbers if isinstance(number, int)), default=0)
