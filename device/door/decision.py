"""What `policy.decide` takes and gives besides the rules: a claim, the moment and the scene in, a decision out.

Frozen values, standard library only. Times are monotonic seconds unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from device.clock import ClockQuality
from device.sighting import Demand
from device.store.records import Direction, Method, Position


@dataclass(frozen=True, slots=True)
class PassFacts:
    """What a QR pass says, once its signature has been verified.

    group    whose rules it gives a share in
    is_once  it admits once; else as often as its time lasts
    """

    pass_id: str
    door_id: str
    group: str
    valid_from: datetime
    valid_until: datetime
    is_once: bool = True


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
    direction       which way whoever stands at this reader passes
    reader          what it came from: camera, keypad, wiegand, usb, osdp, kiosk
    qr_pass         of a pass that was shown
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
    direction: Direction = Direction.ENTRY
    reader: str = "camera"
    qr_pass: PassFacts | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of a decision (`at` aware, UTC), and how far its wall time can be trusted."""

    at: datetime
    mono: float
    quality: ClockQuality = ClockQuality.SYNCED


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known at the moment of a decision besides the claim.

    position      of the person claimed, None where it is not known
    is_certain    false where other doors may have moved people of whom this one has not heard (the hub is silent)
    occupants     persons in the area that this door leads into
    is_pass_used  the pass that was shown has admitted somebody already
    """

    position: Position | None = None
    is_certain: bool = True
    occupants: int = 0
    is_pass_used: bool = False


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
    granted: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """The first part of a combination, waiting for the second."""

    person_id: str
    methods: frozenset[Method]
    until_mono: float
    is_duress: bool = False


@dataclass(frozen=True, slots=True)
class Company:
    """Somebody whose proofs are complete and who stands, or stood, at the door with others.

    is_granted  admitted already; else waiting for whoever the rule demands
    escort      group of the escort that is waited for
    """

    person_id: str
    groups: tuple[str, ...]
    until_mono: float
    is_granted: bool
    escort: str | None = None
    is_duress: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier decisions left behind; handed back and forth, never kept inside the policy. All bounded."""

    tries: tuple[Try, ...] = ()
    lockouts: tuple[Lockout, ...] = ()
    answers: tuple[Answer, ...] = ()
    shown: tuple[Shown, ...] = ()
    company: tuple[Company, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy concludes.

    release_s  seconds, where granted
    needs      what must be shown besides (reason more_needed); `demand` is set where that is the face
    alarms     reasons of alarms that go with it (lockout_alarm, blocked_seen, duress, passback_violated)
    is_repeat  this track has had the same answer already: nothing is released, shown or written again
    companions who passes with them: the others of a two-person rule, visitors of an escort
    area       where they are once they have passed; "" is the world outside
    opens      plans whose first person this is
    methods    everything that the person has shown up to now
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
    companions: tuple[str, ...] = ()
    area: str = ""
    opens: tuple[str, ...] = ()
    methods: frozenset[Method] = frozenset()
