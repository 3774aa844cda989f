"""What somebody at the terminal asks of the running doord, by a signal or on another thread: noted, done in turn.

Only flags are set: a queue's lock may be held by the very thread that a signal interrupts.
"""

from __future__ import annotations


class LocalRequests:
    """Each is taken once, by the door thread."""

    def __init__(self) -> None:
        self.is_to_stop = False
        self._is_reset = self._is_pairing = self._is_clock_right = False

    def stop(self) -> None:
        """End the door's loop soon."""
        self.is_to_stop = True

    def reset(self) -> None:
        """End alarms and a fire release."""
        self._is_reset = True

    def pair(self) -> None:
        """Let OSDP readers and controllers be paired for five minutes."""
        self._is_pairing = True

    def confirm_clock(self) -> None:
        """The clock is right, says who stands before it."""
        self._is_clock_right = True

    def take_reset(self) -> bool:
        asked, self._is_reset = self._is_reset, False
        return asked

    def take_pairing(self) -> bool:
        asked, self._is_pairing = self._is_pairing, False
        return asked

    def take_clock(self) -> bool:
        asked, self._is_clock_right = self._is_clock_right, False
        return asked
