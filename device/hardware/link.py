"""doord's end of the lock: orders go out, acknowledgements come back, nothing blocks.

`RelayLink` speaks to the door-relay process, which it starts itself where systemd does not; `HandRelay` is the same
thing inside the process, moved by a hand-held clock, for scenarios.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from device.clock import Clock
from device.errors import HardwareMissing
from device.hardware.coil import Coil
from device.hardware.orders import ACK_SIZE, MOST_S, Ack, Order, Said, pack_order, read_ack
from device.hardware.pins import open_output

log = logging.getLogger(__name__)
_READY_S = 10.0  # a Pi with a cold card takes seconds to start Python
_ANSWER_S = 1.0  # an order that is unanswered for longer means that the relay process hangs
_RESTART_S = 2.0


class Relay(Protocol):
    """What the app needs of a lock."""

    def start(self) -> None:
        """Begin; HardwareMissing where the relay does not hold its pin."""
        ...

    def release(self, seconds: float) -> int:
        """Energise for `seconds` from now, at most 60; the order's number."""
        ...

    def secure(self) -> int:
        """De-energise now; the order's number."""
        ...

    def acks(self) -> list[Ack]:
        """What has been acknowledged since the last call."""
        ...

    def is_alive(self) -> bool: ...

    def restart(self) -> None:
        """Begin again after a loss; READY among the acknowledgements says that it has worked."""
        ...

    def close(self) -> None:
        """De-energise and let go."""
        ...


class RelayLink:
    """The relay in a process of its own; all methods on one thread, all but `start` and `close` without waiting."""

    def __init__(self, pin: int, active_low: bool, clock: Clock, path: Path | None = None) -> None:
        """path  where systemd's door-relay listens; None = start one for this link alone"""
        self._arguments = ["--pin", str(pin), *(["--active-low"] if active_low else [])]
        self._clock = clock
        self._path = path
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._seq = 0
        self._waiting: dict[int, float] = {}
        self._begun_mono = clock.mono()
        self._is_ready = False
        self._fresh: list[Ack] = []
        self.history: deque[Ack] = deque(maxlen=1000)

    def start(self) -> None:
        """Begin and wait until the relay holds its pin; HardwareMissing says why it does not."""
        self._begin()
        deadline = self._clock.mono() + _READY_S
        while not self._is_ready:
            left = deadline - self._clock.mono()
            if self._channel is None or left <= 0 or self._has_ended():
                raise self._refusal()
            select.select([self._channel], [], [], min(left, 0.1))
            self._receive()

    def release(self, seconds: float) -> int:
        return self._send(self._clock.mono() + min(seconds, MOST_S))

    def secure(self) -> int:
        return self._send(0.0)

    def acks(self) -> list[Ack]:
        self._receive()
        taken, self._fresh = self._fresh, []
        return taken

    def is_alive(self) -> bool:
        """False once the process or its socket is gone, or it leaves an order unanswered."""
        oldest = min(self._waiting.values(), default=None)
        is_answering = oldest is None or self._clock.mono() < oldest + _ANSWER_S
        return self._channel is not None and not self._has_ended() and is_answering

    def restart(self) -> None:
        if self._clock.mono() < self._begun_mono + _RESTART_S:
            return
        self._end(0.0)
        with contextlib.suppress(HardwareMissing):
            self._begin()

    def close(self) -> None:
        self._end(5.0)

    @property
    def pid(self) -> int | None:
        """Process id of the relay that this link started."""
        return self._process.pid if self._process else None

    def _begin(self) -> None:
        self._begun_mono = self._clock.mono()
        self._waiting.clear()
        self._is_ready = False
        if self._path is not None:
            self._connect(self._path)
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "device.hardware.relay", "--fd", str(theirs.fileno()), *self._arguments]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                             stderr=subprocess.PIPE)
        self._channel = ours

    def _connect(self, path: Path) -> None:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            channel.connect(str(path))
        except OSError as error:
            channel.close()
            raise HardwareMissing(f"no door-relay at {path} ({error.strerror}); start door-relay.service") from None
        self._channel = channel

    def _send(self, until_mono: float) -> int:
        self._seq += 1
        if self._channel is None:
            return self._seq
        self._waiting[self._seq] = self._clock.mono()
        try:
            self._channel.send(pack_order(Order(self._seq, until_mono)), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError as error:
            # The unanswered order makes is_alive() false; a peer that is gone does so at once.
            log.warning("order %d did not reach the relay: %s", self._seq, error.strerror)
            if not isinstance(error, BlockingIOError):
                self._hang_up()
        return self._seq

    def _receive(self) -> None:
        while self._channel is not None:
            try:
                message = self._channel.recv(ACK_SIZE + 1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._hang_up()
                return
            if ack := read_ack(message):
                self._note(ack)

    def _note(self, ack: Ack) -> None:
        self._is_ready = self._is_ready or ack.said is Said.READY
        self._waiting.pop(ack.seq, None)
        self._fresh.append(ack)
        self.history.append(ack)

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _end(self, patience_s: float) -> str:
        """Hang up, which de-energises, and see the process off; what it said on stderr."""
        self._hang_up()
        process, self._process = self._process, None
        if process is None:
            return ""
        try:
            _, said = process.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            # It hangs. The kernel takes the line away from a killed process; the pull resistor holds it off.
            process.kill()
            _, said = process.communicate()
        return said.decode(errors="replace").strip()

    def _refusal(self) -> HardwareMissing:
        said = self._end(1.0).splitlines()
        why = said[-1].removeprefix("door-relay: ") if said else "door-relay gives no answer"
        return HardwareMissing(why)


class HandRelay:
    """A relay inside this process, whose deadline comes when the given clock says so. For scenarios and tests."""

    def __init__(self, factory: Any, pin: int, active_low: bool, clock: Clock) -> None:
        self._output = open_output(factory, pin, active_low)
        self._coil = Coil(self._output, clock)
        self._clock = clock
        self._seq = 0
        self._fresh: list[Ack] = [self._coil.ready()]
        self.history: deque[Ack] = deque(maxlen=1000)

    @property
    def is_on(self) -> bool:
        return bool(self._output.value)

    def start(self) -> None:
        """It holds its pin already."""

    def release(self, seconds: float) -> int:
        return self._order(self._clock.mono() + min(seconds, MOST_S))

    def secure(self) -> int:
        return self._order(0.0)

    def acks(self) -> list[Ack]:
        if expired := self._coil.expire():
            self._fresh.append(expired)
        taken, self._fresh = self._fresh, []
        self.history += taken
        return taken

    def is_alive(self) -> bool:
        return True

    def restart(self) -> None:
        self._coil.off()
        self._fresh.append(self._coil.ready())

    def close(self) -> None:
        self._coil.off()
        self._output.close()

    def _order(self, until_mono: float) -> int:
        self._seq += 1
        if expired := self._coil.expire():
            self._fresh.append(expired)
        self._fresh.append(self._coil.obey(Order(self._seq, until_mono)))
        return self._seq
