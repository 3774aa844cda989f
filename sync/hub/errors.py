"""The hub's exceptions beside the terminal's: what the API turns into 404, 409 and 422."""

from __future__ import annotations

from collections.abc import Sequence

from device.errors import TerminalError, UsageError


class NotThere(TerminalError, LookupError):
    """There is no person, group or terminal of that id."""


class InTheWay(TerminalError):
    """Something that exists already, or is still in use, stands in the way."""


class PolicyRefused(UsageError):
    """A policy cannot be used; one line for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(f"policy: {fault}" for fault in faults))
        self.faults = tuple(faults)


class FieldRefused(UsageError):
    """One field of what was asked for cannot be accepted."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
