"""The stage: people, instruments of attack and a room, seen through a lens at one moment.

Called by `rehearsal.camera` for every frame, and by tests and evaluation for single pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from device.frame import Pixels
from device.rehearsal import attacks, room
from device.rehearsal.attacks import INSTRUMENTS, AttackPose
from device.rehearsal.figure import posed
from device.rehearsal.light import DAY, Light, Sensor
from device.rehearsal.people import SITTER, People
from device.rehearsal.pose import Pose
from device.rehearsal.render import Lens, Surface, Texture, draw

FILMING = Lens(512, 512, 32.0)
FILMED = Pose(x=-0.0445, y=-0.183, z=1.415)
"""The lens of whoever films the sitter to replay it, and where the sitter stands then: the eyes lie within a pixel of
where the portrait has them, so that instruments show both alike."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of `rehearsal.people` in a pose."""

    name: str
    pose: Pose


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is before the lens at one moment."""

    people: tuple[Person, ...] = ()
    attacks: tuple[AttackPose, ...] = ()
    light: Light = DAY


class Stage:
    """Renders views at one picture size (width, height). The same view, number and seed give the same pixels.

    Used on one thread at a time; textures are made at their first use (`prepare` makes them beforehand).
    """

    def __init__(self, people: People, size: tuple[int, int], seed: int = 1) -> None:
        self.lens = Lens(*size)
        self._people = people
        self._sensor = Sensor(*size, seed)
        self._room = room.paint(self.lens)
        self._rooms: dict[Light, Pixels] = {}
        self._instruments: dict[str, Texture] = {}
        self._skin = attacks.skin_of(people.portrait)

    def prepare(self, view: View) -> None:
        """Make what the view needs, so that the first frame is as quick as the others."""
        self.render(view, 0)

    def render(self, view: View, number: int) -> Pixels:
        """H×W×3 BGR, read-only: the view as frame `number` of the sensor."""
        canvas = self._backdrop(view.light).copy()
        for _, surfaces in sorted(self._seen(view), key=lambda seen: -seen[0]):
            for surface in surfaces:
                draw(canvas, surface, self.lens)
        picture = self._sensor.expose(canvas, view.light, number)
        picture.flags.writeable = False
        return picture

    def _seen(self, view: View) -> list[tuple[float, tuple[Surface, ...]]]:
        """Distance and surfaces of everything that is near enough to be seen."""
        seen = [(person.pose.z, posed(self._people.figure(person.name), person.pose, view.light))
                for person in view.people]
        for attack in view.attacks:
            texture = self._instrument(attack)
            seen.append((attack.pose.z, attacks.surfaces(attack, texture, self._skin, view.light)))
        return seen

    def _instrument(self, attack: AttackPose) -> Texture:
        name = attack.instrument
        if attack.plays is not None:
            return attacks.picture(self._filmed(attack.plays), INSTRUMENTS[name])
        if name not in self._instruments:
            self._instruments[name] = attacks.picture(self._people.portrait, INSTRUMENTS[name])
        return self._instruments[name]

    def _filmed(self, pose: Pose) -> Pixels:
        """A frame of a video of the sitter, of the portrait's size."""
        canvas = room.paint(FILMING)
        for surface in posed(self._people.figure(SITTER), pose, DAY):
            draw(canvas, surface, FILMING)
        return canvas

    def _backdrop(self, light: Light) -> Pixels:
        if light not in self._rooms:
            colour = np.array(light.tint, np.float32) * light.room * light.gain
            self._rooms[light] = np.clip(self._room * colour, 0, 255).astype(np.uint8)
        return self._rooms[light]


def enrolment_photo(people: People, name: str = SITTER, seed: int = 99) -> Pixels:
    """960×1280×3 BGR: a still of that person from the front, taken near with a portrait lens.

    Another distance, field of view and noise than any frame of the scenes.
    """
    stage = Stage(people, (960, 1280), seed)
    stage.lens = Lens(960, 1280, 32.0)
    return stage.render(View((Person(name, Pose(y=0.03, z=1.15, yaw=-2.0, pitch=1.0)),)), 0)


def png(pixels: Pixels) -> bytes:
    """The picture as a PNG file."""
    _, data = cv2.imencode(".png", pixels)
    return bytes(data)
