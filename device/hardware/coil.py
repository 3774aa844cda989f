"""Coil: the lock's line and its deadline. Owned by the relay process; scenarios drive one by hand."""

from __future__ import annotations

from typing import Any

from device.clock import Clock
from device.hardware.orders import MOST_S, Ack, Order, Said


class Coil:
    """One output that is on until a deadline.

    Wire the relay so that a de-energised coil is the site's safe state, with an external pull resistor that holds
    the line off while no process drives it.
    """

    def __init__(self, output: Any, clock: Clock) -> None:
        """output  a gpiozero OutputDevice, off"""
        self._output = output
        self._clock = clock
        self._until = 0.0

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None while the coil is off."""
        return max(self._until - self._clock.mono(), 0.0) if self._until else None

    def obey(self, order: Order | None) -> Ack:
        """Carry out one order (None = a message that was none)."""
        mono = self._clock.mono()
        if order is None or order.until_mono > mono + MOST_S:
            return self._said(Said.REFUSED, order.seq if order else 0)
        was_on, is_on = self._until > 0.0, order.until_mono > mono
        if is_on and not was_on:
            self._output.on()
        elif not is_on:
            self._output.off()
        self._until = order.until_mono if is_on else 0.0
        if was_on != is_on:
            return self._said(Said.SWITCHED, order.seq)
        return self._said(Said.EXTENDED if is_on else Said.UNCHANGED, order.seq)

    def expire(self) -> Ack | None:
        """Off, where the deadline has come."""
        if self._until == 0.0 or self._clock.mono() < self._until:
            return None
        self.off()
        return self._said(Said.DEADLINE, 0)

    def ready(self) -> Ack:
        """What is said first to whoever gives the orders."""
        return self._said(Said.READY, 0)

    def off(self) -> None:
        self._output.off()
        self._until = 0.0

    def _said(self, said: Said, seq: int) -> Ack:
        return Ack(said, seq, self._until > 0.0, self._clock.mono(), self._until)
