"""Pose: where a head is and what it does, and smooth motion from one to the next.

Used by `rehearsal.scenes` to say what happens and by `rehearsal.figure` to move the points.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, fields, replace
from math import cos, pi, radians, sin

import numpy as np

from device.rehearsal.render import Floats


@dataclass(frozen=True, slots=True)
class Pose:
    """A head before the camera.

    x y z  metres of the neck's top from the lens: right in the image, down, away
    yaw    degrees, positive = the subject looks to the image's right
    pitch  degrees, positive = up
    roll   degrees, positive = clockwise in the image
    blink  0 open .. 1 closed eyes
    mouth  0 as in the portrait .. 1 wide open
    """

    x: float = 0.0
    y: float = 0.05
    z: float = 0.9
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    blink: float = 0.0
    mouth: float = 0.0


@dataclass(frozen=True, slots=True)
class Key:
    """At `t` seconds the head is in `pose`; between keys it moves smoothly."""

    t: float
    pose: Pose


def rotation(pose: Pose) -> Floats:
    """3×3: roll, then pitch, then yaw."""
    a, b, c = radians(pose.yaw), radians(pose.pitch), radians(pose.roll)
    yaw = np.array([[cos(a), 0, -sin(a)], [0, 1, 0], [sin(a), 0, cos(a)]])
    pitch = np.array([[1, 0, 0], [0, cos(b), sin(b)], [0, -sin(b), cos(b)]])
    roll = np.array([[cos(c), -sin(c), 0], [sin(c), cos(c), 0], [0, 0, 1]])
    turn: Floats = (yaw @ pitch @ roll).astype(np.float32)
    return turn


def between(keys: tuple[Key, ...], t: float) -> Pose:
    """The pose at `t`; before the first and after the last key the head rests."""
    place = bisect_right([key.t for key in keys], t)
    if place == 0:
        return keys[0].pose
    if place == len(keys):
        return keys[-1].pose
    before, after = keys[place - 1], keys[place]
    share = (t - before.t) / (after.t - before.t)
    smooth = share * share * (3.0 - 2.0 * share)
    return Pose(**{
        field.name: (1.0 - smooth) * getattr(before.pose, field.name) + smooth * getattr(after.pose, field.name)
        for field in fields(Pose)
    })


def alive(pose: Pose, t: float, seed: int = 0) -> Pose:
    """The pose with what nobody keeps still: sway, breath and a blink every few seconds, fixed by `seed`."""
    a, b, c, d = np.random.default_rng(seed).uniform(0.0, 2.0 * pi, 4).tolist()
    return replace(
        pose,
        x=pose.x + 0.004 * sin(0.9 * t + a),
        y=pose.y + 0.002 * sin(1.7 * t + b),
        yaw=pose.yaw + 1.6 * sin(0.8 * t + c) + 0.6 * sin(2.3 * t + a),
        pitch=pose.pitch + 1.0 * sin(1.1 * t + d) + 0.4 * sin(2.9 * t + b),
        roll=pose.roll + 0.8 * sin(0.7 * t + b),
        blink=max(pose.blink, blinking(t, seed)),
    )


def walking(pose: Pose, t: float, share: float = 1.0) -> Pose:
    """The pose with the gait of a walker, 1.8 steps a second; `share` 0 stands still."""
    step = 2.0 * pi * 1.8 * t
    return replace(
        pose,
        x=pose.x + share * 0.018 * sin(step / 2),
        y=pose.y + share * 0.014 * cos(step),
        roll=pose.roll + share * 1.2 * sin(step / 2),
        pitch=pose.pitch + share * 0.8 * cos(step),
    )


def blinking(t: float, seed: int = 0, every_s: float = 3.1, lasts_s: float = 0.26) -> float:
    """0..1: how far the eyes are closed at `t`, one blink in each span of `every_s`."""
    span = int(t // every_s)
    start = float(np.random.default_rng((seed, max(span, 0))).uniform(0.6, every_s - lasts_s))
    share = (t - span * every_s - start) / lasts_s
    return sin(pi * share) ** 0.7 if 0.0 < share < 1.0 else 0.0
