"""What the door's two pure functions take and give: `policy.decide` and `machine.step`.

Frozen values, standard library only. Times are monotonic seconds unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Union

from device.clock import ClockQuality
from device.sighting import Demand
from device.store.records import ALWAYS, AccessRule, Method, NewEntry, Person, Schedule


class LockKind(Enum):
    """What the relay drives. A strike is powered to release; a maglock is powered to hold, through the
    relay's normally-closed contact, so that for both an energised coil means released."""

    STRIKE = "strike"
    MAGLOCK = "maglock"


# --- policy: who may pass --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """Who somebody seems to be and how that was shown: by one Sighting or one credential.

    person_id       None where nobody was recognised; `reason_if_none` then says why
                    (unknown_face, attack, unknown_card, wrong_pin, bad_pass)
    track_id        the face track that it comes from, None for a credential. A failed try is one track or
                    one credential shown, however many frames the track lives.
    tried_person_id whose PIN or card was tried, where that is known although it failed
    since_mono      first usable frame of the track (for the time from frame to relay); frames that it rests on
    species         of an attack, as far as the judges could tell; judges  their scores, as words for the journal
    """

    person_id: str | None
    methods: frozenset[Method]
    reason_if_none: str = "unknown_face"
    track_id: int | None = None
    tried_person_id: str | None = None
    is_duress: bool = False
    score: float | None = None
    threshold: float | None = None
    margin: float | None = None
    model_id: str = ""
    frames: int = 0
    since_mono: float | None = None
    species: str = ""
    judges: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """Facts of this door that the policy needs besides the rules.

    lockout_after  failed tries within `lockout_window_s` that raise the alarm (GB 50396: at most 5)
    lockout_s      how long the way of trying stays locked out after that
    combine_s      how long the first part of a combination (card, then face) waits for the second
    repeat_s       how soon a person who stays in view is answered afresh
    """

    door_id: str = "door"
    time_zone: str = "UTC"
    release_s: float = 5.0
    release_accessible_s: float = 10.0
    lockout_after: int = 5
    lockout_window_s: float = 60.0
    lockout_s: float = 60.0
    combine_s: float = 15.0
    repeat_s: float = 10.0
    policy_version: str = "stand-alone"


@dataclass(frozen=True, slots=True)
class Level:
    """A rule as this door uses it; any one of the combinations of methods suffices."""

    rule: AccessRule
    combinations: tuple[frozenset[Method], ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything the site's administrator set, at one moment.

    by_group and by_schedule are made from the rest: this door's levels by group, and schedules by id. Of rules of one
    group that agree in schedule and methods the first is kept: it decides wherever a later one could.
    """

    rules: tuple[AccessRule, ...]
    schedules: tuple[Schedule, ...] = ()
    site: Site = Site()
    by_group: Mapping[str, tuple[Level, ...]] = field(init=False, repr=False, compare=False)
    by_schedule: Mapping[str, Schedule] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        levels: dict[str, dict[tuple[str, tuple[frozenset[Method], ...]], Level]] = {}
        for rule in self.rules:
            if not rule.doors or self.site.door_id in rule.doors:
                combinations = tuple(frozenset(methods) for methods in rule.methods if methods)
                of_group = levels.setdefault(rule.group, {})
                of_group.setdefault((rule.schedule_id, combinations), Level(rule, combinations))
        by_group = {group: tuple(of_group.values()) for group, of_group in levels.items()}
        by_schedule = {schedule.schedule_id: schedule for schedule in (*self.schedules, ALWAYS)}
        object.__setattr__(self, "by_group", MappingProxyType(by_group))
        object.__setattr__(self, "by_schedule", MappingProxyType(by_schedule))


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of a decision (`at` aware, UTC), and how far its wall time can be trusted."""

    at: datetime
    mono: float
    quality: ClockQuality = ClockQuality.SYNCED


@dataclass(frozen=True, slots=True)
class Try:
    """One failed try; `key` is the way of trying (see `policy`)."""

    key: str
    mono: float


@dataclass(frozen=True, slots=True)
class Lockout:
    """A way of trying that is locked out until `until_mono`."""

    key: str
    until_mono: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a face track was last told."""

    track_id: int
    person_id: str | None
    reason: str
    mono: float


@dataclass(frozen=True, slots=True)
class Shown:
    """The first part of a combination, waiting for the second."""

    person_id: str
    methods: frozenset[Method]
    until_mono: float
    is_duress: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier decisions left behind; handed back and forth, never kept inside the policy. All bounded."""

    tries: tuple[Try, ...] = ()
    lockouts: tuple[Lockout, ...] = ()
    answers: tuple[Answer, ...] = ()
    shown: tuple[Shown, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy concludes.

    release_s  seconds, where granted
    needs      what must be shown besides (reason more_needed); `demand` is set where that is the face
    alarms     reasons of alarms that go with it (lockout_alarm, blocked_seen, duress)
    is_repeat  this track has had the same answer already: nothing is released, shown or written again
    """

    granted: bool
    reason: str
    person_id: str | None = None
    release_s: float = 0.0
    rule_id: str | None = None
    claim: Claim | None = None
    needs: frozenset[Method] = frozenset()
    demand: Demand | None = None
    alarms: tuple[str, ...] = ()
    is_repeat: bool = False


# --- machine: what the door does -------------------------------------------------------------------------


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
class DoorState:
    """The whole state of one door; deadlines are monotonic seconds, None where none runs.

    release_until, cause  the release that runs and why (None while the lock is secure or free)
    person_id             who was granted last, while an opening would still be theirs
    ordered_until         until when the relay has been told to stay energised
    shunt_until           until when an opening is not forced
    is_fire               fire frees the door; is_fire_input is the wire, which may be quiet again
    degraded              reasons of faults that stand
    """

    phase: Phase = Phase.SECURE
    mode: Mode = Mode.NORMAL
    mode_until: float | None = None
    release_until: float | None = None
    cause: Cause | None = None
    person_id: str | None = None
    ordered_until: float | None = None
    shunt_until: float | None = None
    held_warning_at: float | None = None
    held_alarm_at: float | None = None
    is_held_warned: bool = False
    rex_since: float | None = None
    is_fire: bool = False
    is_fire_input: bool = False
    is_tampered: bool = False
    degraded: frozenset[str] = frozenset()

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
class Command:
    """A verified order. Whoever verified it has made sure that it is fresh and not a repetition.

    mode, until_mono  for Verb.MODE; None = until the next such command
    seconds           for Verb.RELEASE; None = the site's release time
    is_local          given at the door or on the terminal itself: only such a reset ends a fire release
    source            hub, schedule, doorctl, kiosk: goes into the journal
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
    """A fault of the terminal began or ended; `reason` is a code of `reasons` with severity fault."""

    mono: float
    reason: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class Tick:
    mono: float


DoorInput = Union[Decided, ContactOpened, ContactClosed, Rex, Tamper, Fire, Command, Degraded, Tick]


@dataclass(frozen=True, slots=True)
class CredentialShown:
    """A credential came in; the app turns it into a Claim, asks the policy and steps with Decided."""

    mono: float
    method: Method
    secret: bytes = field(repr=False)


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
    """Write this into the journal."""

    entry: NewEntry


Effect = Union[Release, Secure, Signal, Note]

__all__ = [
    "AccessRule", "Answer", "Cause", "Claim", "ClockQuality", "Command", "ContactClosed", "ContactOpened",
    "CredentialShown", "Decided", "Decision", "Degraded", "DoorInput", "DoorState", "Effect", "Fire", "Level",
    "LockKind", "Lockout", "Memory", "Method", "Mode", "Note", "Now", "Person", "Phase", "Release", "Rex",
    "Rules", "Schedule", "Secure", "Shown", "Signal", "Site", "Tamper", "Tick", "Timing", "Try", "Verb",
]
