"""What doord and door-relay say to each other: fixed-size messages over a SOCK_SEQPACKET socket.

The order carries the moment until which the coil may be energised, not a duration: an order that was stuck in the
socket, or a relay process that was stopped for a while, then releases nothing late. CLOCK_MONOTONIC is the same in
both processes. The end of the socket means off.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import Enum

MOST_S = 60.0  # no order energises the coil for longer
_ORDER = struct.Struct("<4sBxxxId")
_ACK = struct.Struct("<4sBBxxIdd")
_MAGIC = b"DRL1"
ORDER_SIZE, ACK_SIZE = _ORDER.size, _ACK.size


class Said(Enum):
    """What an acknowledgement reports."""

    READY = 0
    SWITCHED = 1
    EXTENDED = 2
    UNCHANGED = 3
    DEADLINE = 4
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Order:
    """Energise until `until_mono`; 0 means de-energise now. seq comes back in the acknowledgement."""

    seq: int
    until_mono: float


@dataclass(frozen=True, slots=True)
class Ack:
    """What the relay did.

    mono   when the line switched (or the order was dealt with)
    until  until when the coil stays energised, 0 when it is off
    """

    said: Said
    seq: int
    is_on: bool
    mono: float
    until: float

    def text(self) -> str:
        """One line for a person: what every effect looks like where there are no pins."""
        if self.said in (Said.READY, Said.REFUSED):
            return "relay ready, OFF" if self.said is Said.READY else "relay refused an order"
        state = f"ON for {self.until - self.mono:.1f} s" if self.is_on else "OFF"
        why = {Said.DEADLINE: " (deadline)", Said.EXTENDED: " (extended)"}.get(self.said, "")
        return f"relay {state}{why}"


def pack_order(order: Order) -> bytes:
    return _ORDER.pack(_MAGIC, 1, order.seq & 0xFFFFFFFF, order.until_mono)


def read_order(message: bytes) -> Order | None:
    """The order, or None where the message is not one."""
    if len(message) != _ORDER.size:
        return None
    magic, kind, seq, until = _ORDER.unpack(message)
    if magic != _MAGIC or kind != 1 or not math.isfinite(until) or until < 0:
        return None
    return Order(seq, until)


def pack_ack(ack: Ack) -> bytes:
    return _ACK.pack(_MAGIC, ack.said.value, ack.is_on, ack.seq & 0xFFFFFFFF, ack.mono, ack.until)


def read_ack(message: bytes) -> Ack | None:
    """The acknowledgement, or None where the message is not one."""
    if len(message) != _ACK.size:
        return None
    magic, said, is_on, seq, mono, until = _ACK.unpack(message)
    if magic != _MAGIC or said > max(one.value for one in Said):
        return None
    return Ack(Said(said), seq, bool(is_on), mono, until)
