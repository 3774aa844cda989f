"""Signed receipts of deletion: sent once the record is gone from the file and doord's matcher has followed.

doord's journal entry `gallery_loaded` names the generation that its matcher holds; a receipt for a deletion of that
generation or an earlier one may go. Each stream's newest receipt is sent again after the link was lost, since a
broker may have forgotten it; the hub counts receipts by their seq.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from device.clock import Clock
from device.store.receipts import Receipt as Owed
from device.store.receipts import Receipts
from sync.agent.moments import milliseconds
from sync.wire.messages import Receipt


@dataclass(frozen=True, slots=True)
class Due:
    """A receipt as it is sent, and what it is for."""

    receipt: Receipt
    owed: Owed


class Receipting:
    """Owned by the agent's main thread."""

    def __init__(self, terminal_id: str, receipts: Receipts, clock: Clock) -> None:
        self._terminal_id, self._receipts, self._clock = terminal_id, receipts, clock
        self._is_again = True

    @property
    def is_waiting(self) -> bool:
        return self._receipts.are_owed()

    def again(self) -> None:
        """The link is new: the newest of each stream are sent once more."""
        self._is_again = True

    def due(self, generation: int) -> Iterator[Due]:
        """Receipts for what doord's matcher, at this generation, no longer holds; call `sent` for each."""
        is_again, self._is_again = self._is_again, False
        for owed in self._receipts.due(generation, is_again):
            yield Due(self._made(owed), owed)

    def sent(self, due: Due) -> None:
        self._receipts.sent(due.owed)

    def _made(self, owed: Owed) -> Receipt:
        return Receipt(terminal_id=self._terminal_id, stream=owed.stream, epoch=owed.epoch, seq=owed.seq,
                       digest=owed.digest, issued_ms=milliseconds(self._clock.now()),
                       dropped=owed.dropped)  # type: ignore[arg-type]
