"""Time as a thing that can be handed over: the only module that asks the system for it.

`mono` is monotonic seconds, shared by all processes of one boot, and used for every duration.
`now` is wall time in UTC, used only for what people read and for schedules.
"""

from __future__ import annotations

import ctypes
import time
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Protocol


class ClockQuality(Enum):
    """How far the wall time can be trusted; judged by `device.timekeeper`.

    SYNCED     set by NTP, or confirmed by the hub's signed time within the last 24 h of this boot
    HOLDOVER   was SYNCED earlier in this boot, and has run on evenly since
    UNTRUSTED  never in this boot, or it stands before what is known to have been
    """

    SYNCED = "synced"
    HOLDOVER = "holdover"
    UNTRUSTED = "untrusted"


class Clock(Protocol):
    def mono(self) -> float:
        """Monotonic seconds; never steps."""
        ...

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        ...


class SystemClock:
    """The machine's clocks."""

    def mono(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)


class HandClock:
    """A clock that moves only when told to; for tests, scenarios and accelerated runs."""

    def __init__(self, now: datetime | None = None, mono: float = 1000.0) -> None:
        self._now = now or datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
        self._mono = mono

    def mono(self) -> float:
        return self._mono

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass: both clocks move."""
        self._mono += seconds
        self._now += timedelta(seconds=seconds)

    def step_wall(self, seconds: float) -> None:
        """Step the wall time alone, as NTP or a hand at the clock does."""
        self._now += timedelta(seconds=seconds)


def boot_id() -> str:
    """Identity of this boot of the machine, 32 hex digits."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


# Set by systemd-timesyncd once the time has come from the network since this boot.
_SYNCED_MARK = Path("/run/systemd/timesync/synchronized")
_UNSYNCED = 0x40  # STA_UNSYNC of <sys/timex.h>
_TIMEX_BYTES = 208
_STATUS_AT = 40 if ctypes.sizeof(ctypes.c_long) == 8 else 20


def is_ntp_synced(mark: Path = _SYNCED_MARK) -> bool:
    """Whether NTP has set this machine's clock: what chrony, ntpd or timesyncd told the kernel, or timesyncd's mark,
    where a sandbox does not let the kernel be asked."""
    return _kernel_is_synced() or mark.exists()


def _kernel_is_synced() -> bool:
    """adjtimex(2) with no mode set only reads, and needs no privilege."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
            return False
    except (OSError, AttributeError):
        return False
    return not ctypes.c_int.from_buffer(timex, _STATUS_AT).value & _UNSYNCED


def quality_of(now: datetime, floor: datetime, mark: Path = _SYNCED_MARK) -> ClockQuality:
    """How far `now` can be trusted; `floor` is the latest time that is known to have been (the newest journal
    entry's). A clock that stands before its own past cannot be right."""
    if now < floor:
        return ClockQuality.UNTRUSTED
    return ClockQuality.SYNCED if mark.exists() else ClockQuality.HOLDOVER
