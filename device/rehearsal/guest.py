"""The guest: a rendered visitor who stands before the camera for whoever enrols on a rehearsal's screen, where there
is no camera to stand before.

Called by `rehearsal.show` on its own thread. The guest does what the enrolment's page asks for, pose by pose, and
comes to the door once enrolled.
"""

from __future__ import annotations

from collections.abc import Callable

from device.kiosk.enrolment.booth import Progress, Stage
from device.kiosk.enrolment.pose import POSES
from device.rehearsal.people import STRANGERS
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import Scene, empty, performs, stands

GUESTS = STRANGERS[4:]
"""Those whom the show does not send to the door itself; each is enrolled once, as a face can be."""

AHEAD = "ahead"
_YAW = {"front": 0.0, "left": 14.0, "right": -14.0}
_TURN, _ACTION = "hint.turn_a_little", "action."


def wanted(progress: Progress) -> str:
    """What the page asks for: a pose, an action of the challenge, or to look ahead."""
    if progress.stage is Stage.POSING:
        return POSES[progress.place].name
    if progress.stage is Stage.PROVING and progress.advice == _TURN:
        return "turn_left"
    if progress.stage is Stage.PROVING and progress.advice.startswith(_ACTION):
        return progress.advice.removeprefix(_ACTION)
    return AHEAD


def doing(who: str, what: str) -> Scene:
    """Somebody doing that, near enough for a good picture."""
    if what in _YAW or what == AHEAD:
        return stands(who, Pose(z=0.75, yaw=_YAW.get(what, 0.0)))
    return performs(what, who)


class Guest:
    """One guest after another. show  puts a scene before the camera."""

    def __init__(self, show: Callable[[Scene], None]) -> None:
        self._show = show
        self._count = 0
        self._doing = ""

    @property
    def who(self) -> str:
        """Of `rehearsal.people`."""
        return GUESTS[self._count % len(GUESTS)]

    def follow(self, progress: Progress | None) -> None:
        """Do what is asked for, once each time that it is; None where the enrolment has ended."""
        what = wanted(progress) if progress is not None else ""
        if what != self._doing:
            self._doing = what
            self._show(doing(self.who, what) if what else empty())

    def is_enrolled(self) -> None:
        """The next one is somebody else."""
        self._count += 1
