"""How far the wall clock can be trusted, and the moment before which it cannot be right.

Two voices say what time it is: NTP (`clock.is_ntp_synced`), which anyone on the site's network can imitate, and the
hub, whose signed heads name the boot of this terminal that they answer, so that none of them is older than it. A
clock is SYNCED where either confirms it, with these limits:

- Below the floor it is UNTRUSTED. The floor is the latest moment that was known under SYNCED, in this boot or one
  before (entries of the journal tell), and is raised by nothing else. NTP may stand `SLACK` below it, no more,
  however often: a network that plays an old time brings back no pass that has run out. Only the hub's word lowers the
  floor (it was raised while NTP was wrong), or somebody at the terminal (`confirm`).
- Before a moment that the hub has signed in this boot it is UNTRUSTED, whatever NTP says. (After it is no proof: the
  word may have been held up on its way.)
- Without either voice it is HOLDOVER as long as it runs on evenly since it was last SYNCED.

Owned by the door thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from device.clock import ClockQuality
from device.store.journal import JournalReader
from device.store.records import Entry

SLACK = timedelta(seconds=60)  # a step of NTP, and how well the hub's word and the clock must agree
HUB_LIFE_S = 24 * 3600.0
DRIFT = 5e-4  # of a clock without NTP; ten times what a board's crystal is good for
FLOOR = "floor"  # detail of an entry that sets the floor, whatever came before
LOOK_BACK = 2000  # entries at a time
FIRST = datetime(2026, 1, 1, tzinfo=timezone.utc)  # no clock of this release can be before it
_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A wall time, and the monotonic moment at which it held."""

    at: datetime
    mono: float

    def now(self, mono: float) -> datetime:
        return self.at + timedelta(seconds=mono - self.mono)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the time.

    is_ntp  NTP has set the clock
    floor   the latest moment that was known under SYNCED
    hub     the hub's signed time, as last heard in this boot
    synced  the clock when it was last SYNCED in this boot
    """

    is_ntp: bool
    floor: datetime
    hub: Anchor | None = None
    synced: Anchor | None = None


def quality_of(now: datetime, mono: float, known: Evidence) -> ClockQuality:
    """How far `now` can be trusted; the rules are the module's."""
    hub = known.hub if known.hub is not None and mono - known.hub.mono <= HUB_LIFE_S else None
    is_confirmed = hub is not None and abs(now - hub.now(mono)) <= SLACK
    if not is_confirmed and (now < known.floor - SLACK or (hub is not None and now < hub.now(mono))):
        return ClockQuality.UNTRUSTED
    if is_confirmed or known.is_ntp:
        return ClockQuality.SYNCED
    if known.synced is None or abs(now - known.synced.now(mono)) > _tolerance(known.synced, mono):
        return ClockQuality.UNTRUSTED
    return ClockQuality.HOLDOVER


class TimeKeeper:
    """Keeps the evidence. is_ntp is asked at each judgement; lowered is told the floor that has come down, so that it
    is written into the journal (detail `FLOOR`)."""

    def __init__(self, is_ntp: Callable[[], bool], floor: datetime = FIRST,
                 lowered: Callable[[datetime], None] = lambda _: None) -> None:
        self._is_ntp, self._lowered = is_ntp, lowered
        self.floor = floor
        self._hub: Anchor | None = None
        self._synced: Anchor | None = None

    def heard(self, hub_time_ms: int, mono: float) -> None:
        """The hub has said, in answer to this boot, that it is `hub_time_ms` (milliseconds since 1970), and that was
        heard at `mono`. A word that was held up on its way is passed over for what is known of those before it."""
        told, known = Anchor(_moment(hub_time_ms), mono), self._hub
        is_late = known is not None and known.at <= told.at < known.now(mono) - SLACK
        if not is_late:
            self._hub = told

    def quality(self, now: datetime, mono: float) -> ClockQuality:
        """The clock's quality now; moves the floor."""
        quality = quality_of(now, mono, Evidence(self._is_ntp(), self.floor, self._hub, self._synced))
        if quality is ClockQuality.SYNCED:
            self._synced = Anchor(now, mono)
            # So far below the floor it is SYNCED by the hub's word alone.
            if now < self.floor - SLACK:
                self._lower(now)
            self.floor = max(self.floor, now)
        return quality

    def confirm(self, now: datetime, mono: float) -> None:
        """Somebody at the terminal says that the clock is right now."""
        self._synced = Anchor(now, mono)
        if now < self.floor:
            self._lower(now)

    def _lower(self, now: datetime) -> None:
        self.floor = now
        self._lowered(now)


def recalled_floor(journal: JournalReader) -> datetime:
    """The floor as a journal tells it: the latest moment of its SYNCED entries since one that names the floor, and
    that floor. Reads backwards until there; every start names it, so that is not far."""
    floor, before = FIRST, journal.head
    while before > journal.anchor:
        start = max(before - LOOK_BACK, journal.anchor)
        for one in reversed(journal.entries(start, before - start)):
            named = _named_by(one)
            if named is not None:
                return max(floor, named)
            if one.clock_quality == ClockQuality.SYNCED.value:
                floor = max(floor, one.at)
        before = start
    return floor


def _named_by(entry: Entry) -> datetime | None:
    value = dict(entry.detail).get(FLOOR)
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _tolerance(synced: Anchor, mono: float) -> timedelta:
    return SLACK + timedelta(seconds=DRIFT * max(mono - synced.mono, 0.0))


def _moment(ms: int) -> datetime:
    return _BEGINNING + timedelta(milliseconds=min(ms, 250_000_000_000_000))
