"""What each pack is made of: which members of which archives, and which converter.

Everything that describes a pack rather than makes it stands in `cards/<pack>.toml`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

from device.packs import archives, dlib_resnet, mobilefacenet
from device.packs.cardfile import Table, parse

DEFAULT = "mobilefacenet"

FINDERS = ("detector_short", "detector_full", "mesh", "iris")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One pack: `recogniser` gives the TFLite file of its recogniser, fetching what it needs."""

    name: str
    recogniser: Callable[[], bytes]

    def make(self) -> dict[str, bytes]:
        """The files' contents by role; the recogniser first, since its archive may be out of reach."""
        recogniser = self.recogniser()
        return {**archives.read_members(archives.MEDIAPIPE, FINDERS), "recogniser": recogniser}

    def template_text(self) -> str:
        """cards/<pack>.toml as it ships with the product."""
        return resources.files("device.packs").joinpath(f"cards/{self.name}.toml").read_text(encoding="utf-8")

    def template(self) -> Table:
        """The card without what only a build can tell."""
        return parse(self.template_text(), f"cards/{self.name}.toml")


def _mobilefacenet() -> bytes:
    parts = archives.read_members(archives.HUMAN_MODELS, ["graph", "weights"])
    return mobilefacenet.convert(parts["graph"], parts["weights"])


def _dlib() -> bytes:
    return dlib_resnet.convert(archives.read_members(archives.FACE_RECOGNITION_MODELS, ["resnet"])["resnet"])


RECIPES = {recipe.name: recipe for recipe in (Recipe("mobilefacenet", _mobilefacenet), Recipe("dlib", _dlib))}
