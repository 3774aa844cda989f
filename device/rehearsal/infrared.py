"""The second camera of the rehearsal: near infrared, lit by lamps beside the lens.

Used by tests of `face.pad.infrared` and by evaluation. Skin comes out bright and soft, hair less dark than by day,
printed ink pale, and screens black: they give off no near infrared.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from device.frame import Pixels
from device.rehearsal import attacks
from device.rehearsal.attacks import INSTRUMENTS, AttackPose, Kind
from device.rehearsal.figure import Figure, posed
from device.rehearsal.light import Light
from device.rehearsal.people import People
from device.rehearsal.render import Surface, Texture
from device.rehearsal.stage import Stage, View

REACH_M = 0.9
"""Distance at which the lamps light a face fully; beyond it the light falls off with its square."""

_LAMPS = Light(ambient=0.15, key=0.75, from_deg=0.0, from_above=5.0, room=0.12, gain=1.0, noise=2.5)


class InfraredStage(Stage):
    """Renders views as the second camera sees them."""

    def __init__(self, people: People, size: tuple[int, int], seed: int = 7) -> None:
        super().__init__(people, size, seed)
        self._figures: dict[str, Figure] = {}
        self._skin = _toned(self._skin, 175.0, 0.25)

    def grey(self, view: View, number: int) -> npt.NDArray[np.uint8]:
        """H×W, read-only."""
        picture = self.render(replace(view, light=_LAMPS), number)[..., 1].copy()
        picture.flags.writeable = False
        return np.asarray(picture, np.uint8)

    def _seen(self, view: View) -> list[tuple[float, tuple[Surface, ...]]]:
        seen = [(person.pose.z, posed(self._figure(person.name), person.pose, _lamps(person.pose.z)))
                for person in view.people]
        for attack in view.attacks:
            dimmed = replace(attack, glare=0.0, bands=0.0)
            seen.append((attack.pose.z, attacks.surfaces(dimmed, self._instrument(attack), self._skin,
                                                         _lamps(attack.pose.z))))
        return seen

    def _figure(self, name: str) -> Figure:
        if name not in self._figures:
            figure = self._people.figure(name)
            self._figures[name] = replace(figure, texture=_toned(figure.texture, 190.0, 0.8))
        return self._figures[name]

    def _instrument(self, attack: AttackPose) -> Texture:
        name = attack.instrument  # a screen is dark here, whatever it plays
        if name not in self._instruments:
            drawn = attacks.picture(self._people.portrait, INSTRUMENTS[name])
            is_print = INSTRUMENTS[name].kind is Kind.PRINT
            self._instruments[name] = _toned(drawn, 205.0, 0.08) if is_print else _toned(drawn, 6.0, 0.02)
        return self._instruments[name]


def _lamps(z: float) -> Light:
    return replace(_LAMPS, gain=min((REACH_M / max(z, 0.2)) ** 2, 1.2))


def _toned(texture: Texture, about: float, contrast: float) -> Texture:
    """The texture in near infrared: its red, with that much of its contrast, about that grey level."""
    picture: Pixels = texture.levels[0]
    red = picture[..., 2].astype(np.float32)
    toned = np.clip(about + contrast * (red - np.float32(170.0)), 0, 255).astype(np.uint8)
    return Texture.of(np.repeat(toned[..., None], 3, axis=2))
