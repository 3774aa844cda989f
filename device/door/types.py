"""What the door's machine takes and gives: inputs, its state, and effects.

Frozen values, standard library only. Times are monotonic seconds unless a name says otherwise. What the policy takes
and gives is in `decision` and `rules`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Union

from device.door.decision import Decision
from device.store.records import Direction, Method, NewEntry, UsedPass


class LockKind(Enum):
    """What the relay drives. A strike is powered to release; a maglock is powered to hold, through the
    relay's normally-closed contact, so that for both an energised coil means released."""

    STRIKE = "strike"
    MAGLOCK = "maglock"


class Phase(Enum):
    """SECURE and RELEASED: closed; OPEN, HELD and FORCED: the contact says open."""

    SECURE = "secure"
    RELEASED = "released"
    OPEN = "open"
    HELD = "held"
    FORCED = "forced"


class Mode(Enum):
    NORMAL = "normal"
    FREE = "free"
    LOCKDOWN = "lockdown"


class Cause(Enum):
    """Why the lock is released; without one it never is. Free mode and fire are causes of their own."""

    GRANT = "grant"
    REX = "rex"
    COMMAND = "command"


class Verb(Enum):
    """What a command orders."""

    RELEASE = "release"
    MODE = "mode"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds and choices of one door, all settable by the site.

    has_contact     a door contact is wired: openings are seen
    relock_on_open  the release ends as soon as the contact opens
    shunt_grace_s   an opening so soon after the lock fell is not forced (the latch had been drawn already)
    rex_stuck_s     a request to exit that lasts longer is a fault, and stops shunting
    max_release_s   no single release lasts longer, whoever asks
    order_s         longest single order to the relay; longer releases are renewed on ticks
    journal_first   a release waits until its journal entry is safe
    fire_auto_reset the door stops being free as soon as the fire input does, without a reset at the door
    """

    held_warning_s: float = 20.0
    held_alarm_s: float = 30.0
    rex_release_s: float = 5.0
    command_release_s: float = 5.0
    rex_stuck_s: float = 60.0
    shunt_grace_s: float = 0.5
    max_release_s: float = 300.0
    order_s: float = 30.0
    relock_on_open: bool = True
    has_contact: bool = False
    journal_first: bool = False
    fire_auto_reset: bool = False


@dataclass(frozen=True, slots=True)
class Grantee:
    """Somebody who may pass now, and where they are afterwards."""

    person_id: str
    direction: Direction = Direction.ENTRY
    area: str = ""


@dataclass(frozen=True, slots=True)
class DoorState:
    """The whole state of one door; deadlines are monotonic seconds, None where none runs.

    mode                  what holds: `desired` where that is not normal, else `planned`
    desired, mode_until   set by the hub or by hand, until then; planned  by the calendar
    release_until, cause  the release that runs and why (None while the lock is secure or free)
    grantees              who was granted, while an opening would still be theirs; the last one last
    grantees_until        until when, once their release is over and nobody has opened
    is_taken              the door has been opened since the release that runs began
    is_other_open         the other door of an interlock stands open
    ordered_until         until when the relay has been told to stay energised
    shunt_until           until when an opening is not forced
    is_fire               fire frees the door; is_fire_input is the wire, which may be quiet again
    degraded              reasons of faults that stand
    """

    phase: Phase = Phase.SECURE
    mode: Mode = Mode.NORMAL
    desired: Mode = Mode.NORMAL
    planned: Mode = Mode.NORMAL
    mode_until: float | None = None
    release_until: float | None = None
    cause: Cause | None = None
    grantees: tuple[Grantee, ...] = ()
    grantees_until: float | None = None
    is_taken: bool = False
    ordered_until: float | None = None
    shunt_until: float | None = None
    held_warning_at: float | None = None
    held_alarm_at: float | None = None
    is_held_warned: bool = False
    rex_since: float | None = None
    is_fire: bool = False
    is_fire_input: bool = False
    is_tampered: bool = False
    is_other_open: bool = False
    degraded: frozenset[str] = frozenset()

    @property
    def person_id(self) -> str | None:
        """Who was granted last, while an opening would still be theirs."""
        return self.grantees[-1].person_id if self.grantees else None

    @property
    def is_contact_open(self) -> bool:
        return self.phase in (Phase.OPEN, Phase.HELD, Phase.FORCED)

    @property
    def is_free(self) -> bool:
        return self.is_fire or self.mode is Mode.FREE


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision
    mono: float


@dataclass(frozen=True, slots=True)
class ContactOpened:
    """is_initial: the door stood open when the terminal started."""

    mono: float
    is_initial: bool = False


@dataclass(frozen=True, slots=True)
class ContactClosed:
    mono: float


@dataclass(frozen=True, slots=True)
class Rex:
    """Request to exit: pressed (or motion seen), and let go."""

    mono: float
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Tamper:
    mono: float
    is_active: bool


@dataclass(frozen=True, slots=True)
class Fire:
    mono: float
    is_active: bool


@dataclass(frozen=True, slots=True)
class OtherDoor:
    """The other door of an interlock was opened or closed."""

    mono: float
    is_open: bool


@dataclass(frozen=True, slots=True)
class Bell:
    """Somebody rang."""

    mono: float


@dataclass(frozen=True, slots=True)
class Command:
    """A verified order. Whoever verified it has made sure that it is fresh and not a repetition.

    mode, until_mono  for Verb.MODE; None = until the next such command
    seconds           for Verb.RELEASE; None = the site's release time
    is_local          given at the door or on the terminal itself: only such a reset ends a fire release
    source            hub, schedule, doorctl, kiosk: goes into the journal; a mode of the schedule's yields to others
    """

    mono: float
    command_id: str
    verb: Verb
    mode: Mode | None = None
    until_mono: float | None = None
    seconds: float | None = None
    is_local: bool = False
    source: str = "hub"


@dataclass(frozen=True, slots=True)
class Degraded:
    """A fault of the terminal began or ended; `reason` is a code of `reasons` with severity fault, `detail` one line
    for the journal without anything secret."""

    mono: float
    reason: str
    is_active: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    mono: float


DoorInput = Union[Decided, ContactOpened, ContactClosed, Rex, Tamper, Fire, OtherDoor, Bell, Command, Degraded, Tick]


@dataclass(frozen=True, slots=True)
class CredentialShown:
    """A credential came in; it is turned into a Claim before the door hears of it.

    secret  a card's `credentials.card.Card.secret`, a pass's text, or a PIN's digits with its number before them
            (`number*pin`; without a number it is of whoever is awaited)
    """

    mono: float
    method: Method
    secret: bytes = field(repr=False)
    reader: str = "kiosk"
    direction: Direction = Direction.ENTRY


@dataclass(frozen=True, slots=True)
class Release:
    """Energise the lock's relay for so many seconds from now; a later order replaces an earlier one.

    only_if_noted  where a Note before it in the same step cannot be written, do nothing further, keep the old state
    """

    seconds: float
    only_if_noted: bool = False


@dataclass(frozen=True, slots=True)
class Secure:
    """De-energise the lock's relay now."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Show a reason's text, light and sound."""

    reason: str
    person_id: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Write this into the journal; with it that a pass has admitted somebody, where one has."""

    entry: NewEntry
    uses: UsedPass | None = None


Effect = Union[Release, Secure, Signal, Note]
