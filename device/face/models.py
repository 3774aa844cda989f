"""The networks of one pack, loaded once and shared by everything that looks at faces on one thread."""

from __future__ import annotations

from dataclasses import dataclass

from device.face.align import Aligner
from device.face.card import Card
from device.face.detect import Finder
from device.face.extract import Extractor
from device.face.landmarks import Landmarks
from device.face.runtime import Network


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The stages of one pack, ready to run."""

    card: Card
    finder: Finder
    landmarks: Landmarks
    aligner: Aligner
    extractor: Extractor

    @classmethod
    def load(cls, card: Card, threads: int = 1) -> Models:
        """The pack's networks; ModelMismatch names the one that is missing or cannot be loaded."""
        def network(role: str) -> Network:
            return Network(card.path(role), threads)

        return cls(
            card=card,
            finder=Finder(network("detector_short"), network("detector_full")),
            landmarks=Landmarks(network("mesh")),
            aligner=Aligner(card.recogniser),
            extractor=Extractor(network("recogniser"), card.recogniser),
        )

    @property
    def model_id(self) -> str:
        return self.card.model_id
