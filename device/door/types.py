"""What the door's two pure functions take and give: `policy.decide` and `machine.step`.

Frozen values, standard library only. Times are monotonic seconds unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Union

from device.clock import ClockQuality
from device.sighting import Demand
from device.store.records import AccessRule, Method, NewEntry, Person, Schedule


class LockKind(Enum):
    """What the relay drives. A strike is powered to release; a maglock is powered to hold, through the
    relay's normally-closed contact, so that for both an energised coil means released."""

    STRIKE = "strike"
    MAGLOCK = "maglock"


# --- policy: who may pass --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """Who somebody seems to be and how that was shown: one Sighting or one credential, or several joined."""

    person_id: str | None
    methods: frozenset[Method]
    reason_if_none: str = "unknown_face"
    is_duress: bool = False
    score: float | None = None
    threshold: float | None = None
    margin: float | None = None
    model_id: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """Facts of this door that the policy needs besides the rules."""

    door_id: str = "door"
    time_zone: str = "UTC"
    release_s: float = 5.0
    release_accessible_s: float = 10.0
    lockout_after: int = 5
    lockout_s: float = 60.0
    policy_version: str = "stand-alone"


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything the site's administrator set, at one moment."""

    rules: tuple[AccessRule, ...]
    schedules: tuple[Schedule, ...] = ()
    site: Site = Site()


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of a decision, and how far its wall time can be trusted."""

    at: datetime
    mono: float
    quality: ClockQuality = ClockQuality.SYNCED


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier decisions left behind; handed back and forth, never kept inside the policy.

    tries        monotonic times of recent failed tries
    locked_until monotonic second until which further tries are refused
    """

    tries: tuple[float, ...] = ()
    locked_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy concludes. `demand` is set where more must be shown before it can grant."""

    granted: bool
    reason: str
    person_id: str | None = None
    release_s: float = 0.0
    rule_id: str | None = None
    claim: Claim | None = None
    demand: Demand | None = None
    alarm: bool = False


# --- machine: what the door does -------------------------------------------------------------------------


class Phase(Enum):
    SECURE = "secure"
    RELEASED = "released"
    OPEN = "open"
    HELD = "held"
    FORCED = "forced"


class Mode(Enum):
    NORMAL = "normal"
    FREE = "free"
    LOCKDOWN = "lockdown"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, all settable by the site; relock_on_open ends the release as soon as the contact opens."""

    held_warning_s: float = 20.0
    held_alarm_s: float = 30.0
    rex_release_s: float = 5.0
    relock_on_open: bool = True
    has_contact: bool = False
    fire_auto_reset: bool = False


@dataclass(frozen=True, slots=True)
class DoorState:
    """The whole state of one door; deadlines are monotonic seconds, None where none runs."""

    phase: Phase = Phase.SECURE
    mode: Mode = Mode.NORMAL
    is_contact_open: bool = False
    release_until: float | None = None
    held_warning_at: float | None = None
    held_alarm_at: float | None = None
    shunt_until: float | None = None
    mode_until: float | None = None
    is_fire: bool = False
    is_tampered: bool = False
    granted_person_id: str | None = None
    degraded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decided:
    decision: Decision
    mono: float
    since_mono: float | None = None
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class ContactOpened:
    mono: float


@dataclass(frozen=True, slots=True)
class ContactClosed:
    mono: float


@dataclass(frozen=True, slots=True)
class Rex:
    mono: float


@dataclass(frozen=True, slots=True)
class Tamper:
    mono: float
    is_active: bool


@dataclass(frozen=True, slots=True)
class Fire:
    mono: float
    is_active: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A verified order: release, mode (free, lockdown, normal, with `until_mono`), reset."""

    mono: float
    command_id: str
    verb: str
    mode: Mode | None = None
    until_mono: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CredentialShown:
    """A credential came in; the app turns it into a Claim and asks the policy."""

    mono: float
    method: Method
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Degraded:
    """A part fell silent or came back (camera, vision, journal, relay, ...)."""

    mono: float
    part: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class Tick:
    mono: float


DoorInput = Union[
    Decided, ContactOpened, ContactClosed, Rex, Tamper, Fire, Command, CredentialShown, Degraded, Tick
]


@dataclass(frozen=True, slots=True)
class Release:
    """Energise the lock's relay for so many seconds from now; a longer order replaces a shorter one."""

    seconds: float


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
    """Write this into the journal."""

    entry: NewEntry


Effect = Union[Release, Secure, Signal, Note]

__all__ = [
    "AccessRule", "Claim", "Command", "ContactClosed", "ContactOpened", "CredentialShown", "Decided",
    "Decision", "Degraded", "DoorInput", "DoorState", "Effect", "Fire", "LockKind", "Memory", "Mode", "Note",
    "Now", "Person", "Phase", "Release", "Rex", "Rules", "Schedule", "Secure", "Signal", "Site", "Tamper",
    "Tick", "Timing",
]
