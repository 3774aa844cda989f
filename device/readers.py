"""Other ways in than the face: every reader that is configured, polled by one thread; QR codes by another.

What they take in goes to the credential desk. A reader that falls silent or is stuck is a fault of the terminal, told
once and taken back once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from device.clock import Clock
from device.config import Config
from device.credentials.qr_reader import QrReader
from device.door.types import CredentialShown
from device.frame import Frame
from device.store.records import Method, NewEntry
from device.threads import Worker

log = logging.getLogger(__name__)


class Readers:
    """offer    hands what was shown to the credential desk
    degrade  told where a reader is lost and where all are well again
    note     writes into the journal
    """

    def __init__(self, config: Config, clock: Clock, offer: Callable[[CredentialShown], bool],
                 degrade: Callable[[str, bool], None], note: Callable[[NewEntry], None]) -> None:
        self._clock, self._offer, self._degrade, self._note = clock, offer, degrade, note
        self._qr = QrReader(self._qr_taken, clock) if config.reader.qr else None

    def bodies(self) -> dict[str, Callable[[Worker], None]]:
        """Name -> body of the threads that are needed."""
        return {"qr": self._qr.run} if self._qr is not None else {}

    def look(self, frame: Frame) -> None:
        """Vision's newest frame; called on the vision thread."""
        if self._qr is not None:
            self._qr.look(frame)

    def close(self) -> None:
        """Let go of lines and devices; after the threads have ended."""

    def _qr_taken(self, text: str) -> None:
        self._offer(CredentialShown(self._clock.mono(), Method.QR, text.encode("ascii", "replace"), "camera"))
