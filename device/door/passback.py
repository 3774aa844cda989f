"""Anti-passback and occupancy: may this person, who is there, pass this way? Pure; called by the policy.

Areas are joined by doors (`DoorSides`); a person is in one of them, or outside. Entering an area that one is in
already, or from an area that one is not in, is a violation, and so is leaving an area that one is not in. Whoever's
position is not known, or lies too long ago, commits none.

    off    not looked at
    soft   admitted, and written
    hard   refused; only written while this door cannot know what other doors have seen, since a person must not be
           kept out, or in, by a line that is down
    timed  as hard, but a position counts for the area's `timed_s` only, so that no reader is needed at the exit
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum

from device.clock import ClockQuality
from device.door.decision import Now, Scene
from device.door.rules import Rules
from device.store.records import Area, Direction, Passback


class Verdict(Enum):
    CLEAR = "clear"
    NOTED = "noted"
    REFUSED = "refused"


def passback(mode: Passback, direction: Direction, rules: Rules, scene: Scene, now: Now) -> Verdict:
    """What a rule's mode makes of where the person is."""
    if mode is Passback.OFF or not _is_violation(mode, direction, rules, scene, now):
        return Verdict.CLEAR
    return Verdict.NOTED if mode is Passback.SOFT or not scene.is_certain else Verdict.REFUSED


def is_full(direction: Direction, rules: Rules, scene: Scene) -> bool:
    """Whether the area that this door leads into holds as many as it may; who is in there already counts once."""
    area = rules.by_area.get(rules.sides.inside)
    if direction is Direction.EXIT or area is None or area.limit is None:
        return False
    is_inside = scene.position is not None and scene.position.area_id == area.area_id
    return not is_inside and scene.occupants >= area.limit


def area_after(direction: Direction, rules: Rules) -> str:
    """Where somebody is who has passed."""
    return rules.sides.inside if direction is Direction.ENTRY else rules.sides.outside


def _is_violation(mode: Passback, direction: Direction, rules: Rules, scene: Scene, now: Now) -> bool:
    position, sides = scene.position, rules.sides
    if position is None or _is_void(mode, rules.by_area.get(sides.inside) or Area(sides.inside), scene, now):
        return False
    if direction is Direction.EXIT:
        return position.area_id != sides.inside
    return position.area_id == sides.inside or bool(sides.outside and position.area_id != sides.outside)


def _is_void(mode: Passback, area: Area, scene: Scene, now: Now) -> bool:
    if scene.position is None or now.quality is ClockQuality.UNTRUSTED:
        return mode is Passback.TIMED  # an age that cannot be told keeps nobody out
    age = now.at - scene.position.at
    if mode is Passback.TIMED:
        return age >= timedelta(seconds=area.timed_s)
    return bool(area.forget_h) and age >= timedelta(hours=area.forget_h)
