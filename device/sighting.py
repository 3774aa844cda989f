"""Sighting and Demand: all that vision and the door say to each other.

Standard library only, no array and no picture, so that either side is tested by writing these by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """What vision concludes of one face track.

    UNPROVED  neither taken for an attack nor shown to be alive, though asked again and again
    """

    KNOWN = "known"
    UNKNOWN = "unknown"
    ATTACK = "attack"
    UNPROVED = "unproved"
    POOR = "poor"
    PENDING = "pending"


class Hint(Enum):
    """What the visitor can do to be seen better; the kiosk and the voice have words for each."""

    NONE = "none"
    COME_CLOSER = "come_closer"
    STEP_BACK = "step_back"
    LOOK_AT_CAMERA = "look_at_camera"
    HOLD_STILL = "hold_still"
    MORE_LIGHT = "more_light"
    LESS_LIGHT = "less_light"
    SHOW_WHOLE_FACE = "show_whole_face"
    ONE_AT_A_TIME = "one_at_a_time"
    TURN_A_LITTLE = "turn_a_little"
    DO_CHALLENGE = "do_challenge"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judge of presentation attack detection says of a track.

    score  0 (attack) .. 1 (bona fide), None where the judge abstains
    """

    judge: str
    score: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What vision tells the door of one face track at one moment.

    mono        of the newest frame that went into it
    since_mono  of the first usable frame of the track: what "frame to relay" is counted from
    since_seq   that frame's seq; frame_seq is the newest frame's
    score       cosine to the best person, higher = more alike; threshold and margin on the same scale
                (margin = score minus the best other person's)
    frames      usable frames of the track that the outcome rests on
    exposure    mean grey level of the face on the newest frame, 0..1
    action      what the visitor is to do where the hint is DO_CHALLENGE (blink, turn_left, ...)
    """

    track_id: int
    mono: float
    outcome: Outcome
    model_id: str
    person_id: str | None = None
    score: float | None = None
    threshold: float | None = None
    margin: float | None = None
    judgements: tuple[Judgement, ...] = ()
    frames: int = 0
    hint: Hint = Hint.NONE
    frame_seq: int = 0
    since_mono: float = 0.0
    since_seq: int = 0
    action: str = ""
    exposure: float | None = None


class Level(Enum):
    """How much proof of a live person the door asks for."""

    NONE = "none"
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Demand:
    """What the door asks of vision; read at the next frame.

    expect_person_id  compare 1:1 against this person only (a card's holder)
    challenge         name of an action the visitor must show, where the door insists on one
    """

    level: Level = Level.NORMAL
    challenge: str | None = None
    expect_person_id: str | None = None
