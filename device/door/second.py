"""The second relay: what it follows, from the door's state and effects. Pure; used by the panel.

    alarm      while an alarm stands; a pulse for one that passes
    duress     a pulse, where a silent line goes out
    bell       a pulse for whoever rings
    gate       a pulse with each release
    interlock  while this door is released or open: tells the other door's controller to stay shut
"""

from __future__ import annotations

from collections.abc import Sequence

from device.door.reasons import REASONS, Severity
from device.door.types import DoorState, Effect, Note, Phase

_STANDING = (Phase.FORCED, Phase.HELD)
_RELEASES = ("release",)


def stands(role: str, state: DoorState) -> bool:
    """Whether it is energised for as long as this state lasts."""
    if role == "alarm":
        return state.is_fire or state.is_tampered or state.phase in _STANDING
    return role == "interlock" and state.phase is not Phase.SECURE


def pulses(role: str, effects: Sequence[Effect]) -> bool:
    """Whether these effects ask for a pulse."""
    noted = [effect.entry.reason for effect in effects if isinstance(effect, Note)]
    if role == "alarm":
        return any(REASONS[code].severity is Severity.ALARM and REASONS[code].light for code in noted)
    if role == "gate":
        return any(REASONS[code].kind in _RELEASES for code in noted)
    return role in ("duress", "bell") and role in noted
