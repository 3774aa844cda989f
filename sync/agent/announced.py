"""Whom door-syncd believes and seals to: the hub's keys, as link.toml and the hub's announcements have them.

What is followed is handed to doord as it was signed, which follows it for itself (`orders_desk`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from device.link import Link
from device.store.handover import Handover
from device.store.trust import MessageRefused
from device.store.trust_chain import TrustChain

log = logging.getLogger(__name__)


class Announced:
    """Owned by the agent's main thread. `chain` is kept current."""

    def __init__(self, link: Link, handover: Handover) -> None:
        self.chain = TrustChain(link.hub_signing, link.hub_sealing)
        self._handover = handover
        for data in handover.announcements():
            self._follow(data)

    def follow(self, announcements: Sequence[bytes]) -> bool:
        """Take what is later than what is known; whether anything was. StoreError where it cannot be kept."""
        number = self.chain.number
        for data in announcements:
            if self._follow(data):
                self._handover.put_announcement(self.chain.number, data)
        if self.chain.number != number:
            log.warning("the hub's keys are now those of its announcement %d", self.chain.number)
        return self.chain.number != number

    def _follow(self, data: bytes) -> bool:
        try:
            return self.chain.follow(data)
        except MessageRefused as error:
            # One from before this terminal was claimed is signed by a key that it never knew.
            log.info("an announcement of the hub's keys is passed over: %s", error)
            return False
