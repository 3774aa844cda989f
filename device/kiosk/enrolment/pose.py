"""The poses of an enrolment and when a face is in one: straight ahead, then turned a little to either side. Pure.

Three poses instead of one: a template from the side finds the person who walks past, and a picture held up does not
turn. Both sides lie well within what enrolment takes for a good picture (25 degrees).
"""

from __future__ import annotations

from dataclasses import dataclass

from device.face.types import Quality


@dataclass(frozen=True, slots=True)
class Pose:
    """name as in the catalogue (enrol.pose_NAME); least and most degrees of yaw, positive to the subject's left."""

    name: str
    least: float
    most: float

    def offset(self, yaw: float) -> float:
        """Degrees by which the head must still turn, positive to the subject's left; 0 where it is in the pose."""
        return self.least - yaw if yaw < self.least else min(self.most - yaw, 0.0)


POSES = (Pose("front", -7.0, 7.0), Pose("left", 8.0, 22.0), Pose("right", -22.0, -8.0))

FIRM = 3
"""Pictures in a row that must be good and in the pose: the first one of a movement is blurred."""


def advice(pose: Pose, quality: Quality) -> str:
    """The catalogue's key of what would help; "" where the picture is good and in the pose."""
    reasons = [reason for reason in quality.reasons if not (reason == "turned_aside" and pose.name != "front")]
    if reasons:
        return f"enrol.why_{reasons[0]}"
    offset = pose.offset(quality.yaw)
    if offset == 0.0:
        return ""
    if pose.name == "front":
        return "enrol.turn_to_camera"
    is_too_far = (offset < 0) is (pose.name == "left")
    return "enrol.turn_back" if is_too_far else f"enrol.turn_{pose.name}"
