"""Who takes people in where the gallery is not the terminal's own to write: a hub that runs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from device.enrolment import Enrolled, Photo
from device.store.records import Method


class Registrar(Protocol):
    """Called on a thread that may wait."""

    def admit(self, label: str, photos: Sequence[Photo], secrets: Sequence[tuple[Method, bytes]]) -> Enrolled:
        """Store a person who has agreed on the screen, with the secrets of the credentials, all or nothing.

        EnrolmentRefused where the pictures are not fit or a credential is given out already; other TerminalErrors
        where it cannot be stored.
        """
        ...
