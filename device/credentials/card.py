"""Cards: Wiegand formats and their parity, the numbers that USB readers type, and what people type of a card.

    26 bits  H10301: even parity, 8 bits of facility, 16 of number, odd parity
    34 bits  even parity, 32 bits of data, odd parity
    37 bits  H10302: even parity, 35 bits of number, odd parity
    32, 64   a UID without parity

The first bit makes the number of ones even in itself and the first half of the data, the last bit makes it odd in the
second half and itself; of 35 bits the middle one is counted in both. So an error passes where it flips an even
number of bits in each half, or in 37 bits the middle one and an odd number of others in each; every other is seen:
one flipped bit always, two in the same half never. Bits that were lost or added are seen by the length, unless that
is another format's. A UID has nothing to be checked by.

Parity is against noise alone: whoever reaches a reader's wires sends what they like. Used by the reader thread, by
whoever enrols, and by the hub.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

SIZES = (24, 32, 35, 64)
FORMATS = {26: 24, 34: 32, 37: 35}
"""Bits of a Wiegand format -> those of its data."""

_CHECKED = {24: 12, 32: 16, 35: 18}  # data bits that each parity bit counts, from its end
_UIDS = (32, 64)
_MOST_TEXT = 64
_TYPED = re.compile(r"(?:([0-9]{1,5})\s*([,:])\s*)?(0x[0-9a-f]{1,16}|[0-9]{1,20})", re.IGNORECASE | re.ASCII)
_READ = re.compile(r"[0-9A-Fa-f]{1,20}")
_SECRET = re.compile(rb"([0-9]{2}):(0|[1-9][0-9]{0,19})")
_HOW = ("a card is typed as its number (8190777), facility and number (124,64313), hexadecimal (0x7cfb39) or bits "
        "and number (24:8190777), of 64 bits at most")


@dataclass(frozen=True, slots=True)
class Card:
    """A card's number and how many bits it has: 24, 32, 35 or 64. The same number of other bits is another card."""

    bits: int
    value: int = field(repr=False)

    def __post_init__(self) -> None:
        if self.bits not in SIZES:
            raise ValueError(f"a card has {', '.join(map(str, SIZES[:-1]))} or {SIZES[-1]} bits of data")
        if not 0 <= self.value < 1 << self.bits:
            raise ValueError(f"the number does not fit into a card of {self.bits} bits")

    def secret(self) -> bytes:
        """What a credential holds of this card, e.g. b"24:8190777"; equal cards have equal secrets."""
        return f"{self.bits}:{self.value}".encode("ascii")

    @classmethod
    def from_secret(cls, secret: bytes) -> Card:
        """The card of a secret; ValueError where that is none, in its one spelling."""
        found = _SECRET.fullmatch(secret)
        if found is None:
            raise ValueError("this is no card's secret")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def parse(cls, text: str) -> Card:
        """The card that somebody typed: its number, facility and number (both also with a colon), 0x and hexadecimal,
        or bits and number. A number alone has the fewest bits that hold it. ValueError says how else to type it."""
        found = _TYPED.fullmatch(text.strip()) if len(text) <= _MOST_TEXT else None
        if found is None:
            raise ValueError(_HOW)
        first, mark, number = found.groups()
        value = int(number, 16 if number[:2] in ("0x", "0X") else 10)
        if mark is None:
            return cls(_narrowest(value), value)
        return _pair(int(first), mark, value, number.isdigit())

    @classmethod
    def from_reader(cls, text: str, bits: int) -> Card:
        """The card whose number a USB reader typed, where that stands for so many bits.

        It is hexadecimal where it has a letter, or just as many digits as the bits have in hexadecimal; else it is
        decimal: so let a decimal reader type leading zeros. ValueError where it is no number of these bits.
        """
        if not _READ.fullmatch(text):
            raise ValueError("a card reader types 1 to 20 digits, or hexadecimal ones")
        is_hexadecimal = not text.isdigit() or len(text) == (bits + 3) // 4
        value = int(text, 16 if is_hexadecimal else 10)
        if bits == 24 and value < 1 << 32:
            value &= 0xFFFFFF  # the usual ten digits are 32 bits, of which a 26-bit reader sends these
        return cls(bits, value)


def decode(bits: Sequence[int]) -> Card:
    """The card in what a reader sent, parity included; ValueError where the format is unknown or parity is wrong."""
    if not all(bit in (0, 1) for bit in bits):
        raise ValueError("a card's bits are 0 and 1")
    if len(bits) in _UIDS:
        return Card(len(bits), _number(bits))
    size = FORMATS.get(len(bits))
    if size is None:
        raise ValueError(f"a card of {len(bits)} bits is in no known format; set the reader to 26, 34 or 37 bits, or "
                         "to 32 or 64 without parity")
    data = bits[1:-1]
    even, odd = _parity(data, _CHECKED[size])
    if (bits[0], bits[-1]) != (even, odd):
        # Every group that is counted has an odd number of bits, so that swapped lines are wrong in both.
        is_swapped = bits[0] != even and bits[-1] != odd
        raise ValueError(f"a card of {len(bits)} bits has wrong parity"
                         + (" in both halves; are D0 and D1 swapped?" if is_swapped else ""))
    return Card(size, _number(data))


def encode(card: Card, length: int) -> tuple[int, ...]:
    """The card as 26, 34 or 37 bits with parity, a short number with zeros before it; ValueError where its number
    does not fit, since what is left of it might be somebody else's."""
    size = FORMATS.get(length)
    if size is None:
        raise ValueError(f"cards are sent as 26, 34 or 37 bits, not as {length}")
    if card.value >= 1 << size:
        raise ValueError(f"a card's number of {card.value.bit_length()} bits cannot be sent as {length} bits")
    data = tuple(card.value >> place & 1 for place in reversed(range(size)))
    even, odd = _parity(data, _CHECKED[size])
    return (even, *data, odd)


def _pair(first: int, mark: str, value: int, is_decimal: bool) -> Card:
    """Facility and number, or bits and number."""
    is_facility = is_decimal and first < 1 << 8 and value < 1 << 16
    is_bits = mark == ":" and first in SIZES and value < 1 << first
    if is_facility and is_bits:
        raise ValueError(f"this may be facility {first} or {first} bits; for the facility type a comma, for the bits "
                         "the number in hexadecimal (24:0x4d2)")
    if is_facility:
        return Card(24, first << 16 | value)
    if is_bits:
        return Card(first, value)
    raise ValueError(_HOW)


def _narrowest(value: int) -> int:
    for size in SIZES:
        if value < 1 << size:
            return size
    raise ValueError(_HOW)


def _parity(data: Sequence[int], checked: int) -> tuple[int, int]:
    """(the first bit, the last bit) that belong to this data."""
    return sum(data[:checked]) % 2, 1 - sum(data[-checked:]) % 2


def _number(bits: Sequence[int]) -> int:
    value = 0
    for bit in bits:
        value = value << 1 | bit
    return value
