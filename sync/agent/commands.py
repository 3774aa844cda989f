"""Hands the hub's orders to doord as they came, and takes doord's outcomes back to the hub.

door-syncd is not trusted with them: doord verifies the hub's signature itself, and its journal says what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from device.clock import Clock
from device.store.handover import Handover
from device.store.orders import Desired, Order
from sync.agent.journal_watch import Said
from sync.agent.moments import milliseconds
from sync.wire.messages import Answer

ANSWERED_KEPT = 10_000
NO_OUTCOME_S = 60.0  # after this, a command that doord has not obeyed has expired and never will be


class Commands:
    """Owned by the agent's main thread."""

    def __init__(self, terminal_id: str, handover: Handover, clock: Clock) -> None:
        self._terminal_id, self._handover, self._clock = terminal_id, handover, clock
        # What lay in the inbox before this start has until NO_OUTCOME_S from now.
        self._waiting = {letter.command_id: clock.mono() for letter in handover.inbox()}
        self._answered: dict[str, None] = {}
        self._reports: set[str] = set()  # commands that ask for a report

    def ordered(self, order: Order, data: bytes) -> bool:
        """Hand a command over; false where it lies there already or too many wait."""
        if order.command_id in self._answered:
            return False
        is_new = self._handover.put_command(order.command_id, data)
        if is_new:
            self._waiting[order.command_id] = self._clock.mono()
            if order.verb == "report":
                self._reports.add(order.command_id)
        return is_new

    def desired(self, desired: Desired, data: bytes) -> bool:
        """Hand a desired state over; false where it is not newer."""
        return self._handover.put_desired(desired.version, data)

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def answers(self, said: Said) -> Iterator[Answer]:
        """Outcomes that the hub has not been told; call `answered` when one has been sent."""
        for command_id, since in list(self._waiting.items()):
            outcome = said.outcomes.get(command_id)
            if outcome is None and self._clock.mono() - since > NO_OUTCOME_S:
                outcome = ("failed", "the door did not take it up")
            if outcome is not None:
                yield self._answer(command_id, *outcome)

    def asks_for_report(self, answer: Answer) -> bool:
        """Whether a report is what the command was for: it goes out before the answer does."""
        return answer.outcome == "done" and answer.command_id in self._reports

    def answered(self, command_id: str) -> None:
        self._waiting.pop(command_id, None)
        self._reports.discard(command_id)
        self._answered[command_id] = None
        while len(self._answered) > ANSWERED_KEPT:
            del self._answered[next(iter(self._answered))]
        self._handover.drop_command(command_id)

    def _answer(self, command_id: str, outcome: str, reason: str) -> Answer:
        return Answer(terminal_id=self._terminal_id, command_id=command_id,
                      issued_ms=milliseconds(self._clock.now()), outcome=outcome,  # type: ignore[arg-type]
                      reason=reason)
