"""Scenes: what happens before the camera, as pure functions from seconds to a `View`.

Used by the rehearsal, by tests and by evaluation. `SCENES` names the ready ones; the functions below make others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi, radians, sin, tan

import numpy as np

from device.rehearsal.attacks import INSTRUMENTS, AttackPose
from device.rehearsal.light import BACKLIT, BRIGHT, DARK, DAY, SIDE, WARM, Light
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.pose import Key, Pose, alive, between, walking
from device.rehearsal.render import Lens
from device.rehearsal.stage import FILMED, Person, View

STRANGER = STRANGERS[0]
"""The stranger of the rehearsal: the design's first row, whatever a recogniser thinks of it."""

FACE_SHARE = 0.06
"""Attacks are held where the eyes shown are this share of the picture's width apart: 77 of 1280 px, as at 0.8 m."""

_EYES_PX = (225.4, 103.4, 43.4)  # x, y of the middle between the eyes in the portrait, and their distance
_FOCAL_SHARE = 0.5 / tan(radians(Lens(1, 1).field_deg) / 2)


@dataclass(frozen=True, slots=True)
class Scene:
    """`at` gives the view at any t >= 0; after `seconds` nothing new happens."""

    name: str
    seconds: float
    at: Callable[[float], View]


def empty(light: Light = DAY, name: str = "empty") -> Scene:
    """Nobody there."""
    return Scene(name, 2.0, lambda t: View(light=light))


def walks_up(who: str = SITTER, light: Light = DAY, name: str = "", seed: int = 1, x: float = 0.0) -> Scene:
    """Somebody comes from 3 m to 0.85 m in 2.6 s, looks into the camera, then turns, nods and says a word."""
    keys = _walk(x)

    def at(t: float) -> View:
        return View((Person(who, _living(keys, t, seed)),), (), light)

    return Scene(name or f"{who} walks up", keys[-1].t, at)


def stands(who: str = SITTER, pose: Pose | None = None, light: Light = DAY, name: str = "", seed: int = 1) -> Scene:
    """Somebody stands before the camera and does no more than live."""
    still = pose or Pose()

    def at(t: float) -> View:
        return View((Person(who, alive(still, t, seed)),), (), light)

    return Scene(name or f"{who} stands", 4.0, at)


def turns(who: str = SITTER, degrees: float = 8.0, period_s: float = 2.4, light: Light = DAY, seed: int = 1) -> Scene:
    """Somebody stands before the camera and turns the head gently from side to side, from the first moment on."""
    still = Pose(z=0.85)

    def at(t: float) -> View:
        turned = replace(still, yaw=degrees * sin(2 * pi * t / period_s))
        return View((Person(who, alive(turned, t, seed)),), (), light)

    return Scene(f"{who} turns by {degrees:.0f} degrees", 6.0, at)


def performs(action: str, who: str = SITTER, light: Light = DAY, seed: int = 1) -> Scene:
    """Somebody who stands before the camera does, after a moment, what a challenge asks for (the words of
    `face.pad.action`; anything else is to look ahead)."""
    rest = Pose(z=0.85)
    keys = tuple(Key(t, replace(rest, **changes)) for t, changes in _ACTIONS.get(action, ((0.0, {}),)))

    def at(t: float) -> View:
        return View((Person(who, alive(between(keys, t), t, seed)),), (), light)

    return Scene(f"{who}: {action}", keys[-1].t + 0.5, at)


def together(*scenes: Scene, name: str) -> Scene:
    """Several scenes at the same time, in the light of the first."""

    def at(t: float) -> View:
        views = [scene.at(t) for scene in scenes]
        return View(tuple(p for view in views for p in view.people), tuple(a for view in views for a in view.attacks),
                    views[0].light)

    return Scene(name, max(scene.seconds for scene in scenes), at)


def one_after_another(*scenes: Scene, name: str) -> Scene:
    """Scenes in a row, each for its own seconds; the last goes on."""

    def at(t: float) -> View:
        rest = max(t, 0.0)
        for scene in scenes[:-1]:
            if rest < scene.seconds:
                return scene.at(rest)
            rest -= scene.seconds
        return scenes[-1].at(rest)

    return Scene(name, sum(scene.seconds for scene in scenes), at)


def held_up(instrument: str, waved: bool = False, full_frame: bool = False, bend: float = 0.0, light: Light = DAY,
            name: str = "", seed: int = 3) -> Scene:
    """A print or screen of the sitter is raised to the camera and held still or waved.

    full_frame  so near that neither border nor hands are seen
    """
    rest = _place(instrument, full_frame)
    kind = INSTRUMENTS[instrument].kind

    def at(t: float) -> View:
        pose = _waved(rest, t, 0.25 if full_frame else 1.0) if waved else rest
        raised = max(0.0, 1.0 - t / 0.7)
        pose = replace(_trembling(pose, t, seed), y=pose.y + (0.0 if full_frame else 0.6 * raised**2))
        glare = 0.3 + (0.12 * sin(2 * pi * 0.7 * t) if waved else 0.0)
        attack = AttackPose(instrument, pose, bend, glare, 0.6, max(light.gain * 0.95, 0.75), t, not full_frame)
        return View((), (attack,), light)

    manner = f"{'full frame' if full_frame else 'with border'}, {'waved' if waved else 'still'}"
    return Scene(name or f"{kind.value} {instrument}, {manner}", 5.0, at)


def replayed(instrument: str, waved: bool = False, degrees: float = 12.0, seed: int = 3) -> Scene:
    """A screen that plays a video of the sitter, who turns the head and blinks, is raised to the camera and held."""
    shown = held_up(instrument, waved, seed=seed)

    def at(t: float) -> View:
        turned = replace(FILMED, yaw=degrees * sin(2 * pi * t / 2.4), pitch=4.0 * sin(2 * pi * t / 3.1))
        view = shown.at(t)
        return replace(view, attacks=tuple(replace(one, plays=alive(turned, t, seed)) for one in view.attacks))

    return Scene(f"{shown.name}, a video", shown.seconds, at)


def lowered(instrument: str = "print-a4", seconds: float = 2.0, light: Light = DAY, name: str = "") -> Scene:
    """A stranger hides behind a picture of the sitter and lowers it after `seconds`."""
    shown = held_up(instrument, light=light)
    behind = stands(STRANGER, Pose(z=0.95), light)

    def at(t: float) -> View:
        down = min(max(t - seconds, 0.0) / 0.6, 1.0)
        attacks = tuple(
            replace(attack, pose=replace(attack.pose, y=attack.pose.y + 0.7 * down**2))
            for attack in shown.at(min(t, seconds) + 0.7).attacks if down < 1.0)
        return View(behind.at(t).people, attacks, light)

    return Scene(name or f"{instrument} lowered", seconds + 3.0, at)


_ACTIONS: dict[str, tuple[tuple[float, dict[str, float]], ...]] = {
    "blink": ((0.0, {}), (0.7, {}), (0.82, {"blink": 1.0}), (0.9, {"blink": 1.0}), (1.02, {})),
    "open_mouth": ((0.0, {}), (0.7, {}), (1.0, {"mouth": 0.8}), (1.4, {"mouth": 0.8}), (1.7, {})),
    "turn_left": ((0.0, {}), (0.7, {}), (1.3, {"yaw": 25.0}), (1.6, {"yaw": 25.0}), (2.2, {})),
    "turn_right": ((0.0, {}), (0.7, {}), (1.3, {"yaw": -25.0}), (1.6, {"yaw": -25.0}), (2.2, {})),
    "look_up": ((0.0, {}), (0.7, {}), (1.2, {"pitch": 15.0}), (1.5, {"pitch": 15.0}), (2.0, {})),
    "look_down": ((0.0, {}), (0.7, {}), (1.2, {"pitch": -14.0}), (1.5, {"pitch": -14.0}), (2.0, {})),
    "nod": ((0.0, {}), (0.7, {}), (1.1, {"pitch": -13.0}), (1.6, {"pitch": 9.0}), (2.0, {})),
    "shake": ((0.0, {}), (0.7, {}), (1.1, {"yaw": 18.0}), (1.8, {"yaw": -18.0}), (2.3, {})),
}
"""Seconds and poses of each action, by somebody who does it plainly and without haste."""


def _walk(x: float) -> tuple[Key, ...]:
    def key(t: float, **changes: float) -> Key:
        return Key(t, replace(Pose(x=x, z=0.85), **changes))

    return (
        key(0.0, x=x + 0.25, z=3.0, yaw=-6.0, pitch=-4.0), key(2.6), key(3.4), key(4.2, yaw=25.0),
        key(5.4, yaw=-25.0), key(6.0), key(6.5, pitch=13.0), key(7.1, pitch=-11.0), key(7.6), key(7.9, mouth=0.5),
        key(8.2, mouth=0.1), key(8.4, mouth=0.35), key(8.7), key(9.3, roll=10.0), key(9.9, roll=-10.0), key(10.5),
    )


def _living(keys: tuple[Key, ...], t: float, seed: int) -> Pose:
    ahead = between(keys, t + 0.1).z - between(keys, t).z
    return alive(walking(between(keys, t), t, min(abs(ahead) * 15.0, 1.0)), t, seed)


def _place(instrument: str, full_frame: bool) -> Pose:
    """Where the eyes shown come to lie in the middle of the picture, at the wanted size."""
    made = INSTRUMENTS[instrument]
    left, top, right, bottom = made.crop
    inner = made.width_m * (1 - 2 * made.margin)
    inner_height = made.height_m - 2 * made.margin * made.width_m
    z = inner * (_EYES_PX[2] / (right - left)) * _FOCAL_SHARE / FACE_SHARE
    share = (_EYES_PX[1] - top) / (bottom - top)
    if full_frame:
        # Both a 16:9 and a 4:3 picture lie inside what is shown, with some room to tremble.
        z = min(inner, inner_height * 2 * min(share, 1 - share) * 4 / 3) * _FOCAL_SHARE * 0.85
    return Pose(
        x=(0.0 if full_frame else 0.5 - (_EYES_PX[0] - left) / (right - left)) * inner,
        y=(0.5 - share) * inner_height,
        z=z)


def _waved(rest: Pose, t: float, share: float) -> Pose:
    return replace(
        rest, x=rest.x + share * 0.07 * rest.z * sin(2 * pi * 0.55 * t), yaw=share * 20.0 * sin(2 * pi * 0.5 * t),
        pitch=share * 9.0 * sin(2 * pi * 0.8 * t + 1.0), roll=share * 6.0 * sin(2 * pi * 0.35 * t),
        z=rest.z * (1.0 + share * 0.08 * sin(2 * pi * 0.3 * t)))


def _trembling(pose: Pose, t: float, seed: int) -> Pose:
    """What a hand cannot keep still: a few tenths of a degree and of a millimetre."""
    a, b, c = np.random.default_rng(seed).uniform(0.0, 2.0 * pi, 3).tolist()
    return replace(
        pose, x=pose.x + 0.0012 * sin(9.0 * t + a), y=pose.y + 0.001 * sin(11.0 * t + b),
        roll=pose.roll + 0.4 * sin(5.0 * t + c), yaw=pose.yaw + 0.5 * sin(4.0 * t + b))


def _all() -> dict[str, Scene]:
    lights = (("dark", DARK), ("bright", BRIGHT), ("side_light", SIDE), ("backlit", BACKLIT), ("warm", WARM))
    scenes = [
        empty(),
        walks_up(name="enrolled_walks_up"),
        walks_up(STRANGER, name="stranger_walks_up", seed=2),
        *(walks_up(light=light, name=f"enrolled_{word}", seed=seed) for seed, (word, light) in enumerate(lights, 4)),
        together(stands(SITTER, Pose(x=-0.22, z=0.85)), stands(STRANGER, Pose(x=0.22, z=0.9), seed=2),
                 name="two_people"),
        held_up("print-a4", name="print_attack"),
        held_up("print-a4", waved=True, name="print_waved"),
        held_up("print-a4", waved=True, bend=0.8, name="print_bent"),
        held_up("screen-tablet", name="screen_attack"),
        held_up("screen-phone", name="phone_attack"),
        held_up("screen-tablet", waved=True, name="screen_waved"),
        held_up("print-a2", full_frame=True, name="print_full_frame"),
        held_up("screen-laptop", full_frame=True, name="screen_full_frame"),
        lowered(name="print_lowered"),
    ]
    return {scene.name: scene for scene in scenes}


def every_attack() -> tuple[Scene, ...]:
    """Each instrument still and waved, with its border, and the largest of either kind in the full frame."""
    bordered = [held_up(name, waved) for name in INSTRUMENTS for waved in (False, True)]
    largest = ("print-a2", "screen-laptop")
    return (*bordered, *(held_up(name, waved, full_frame=True) for name in largest for waved in (False, True)))


SCENES: dict[str, Scene] = _all()
