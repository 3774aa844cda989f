"""PINs: a number that names the person, and digits that only an Argon2 hash is kept of.

A PIN credential's secret is `number NUL hash`: the number finds it (`records.sought`), the hash proves it. A second
credential of the same number, marked as duress, holds the PIN that opens and alarms. Checking takes a tenth of a
second on purpose, so it is done by the credential desk's thread, never by the door's.

The parameters are the first of OWASP's minimum for Argon2id (Password Storage Cheat Sheet): 19 MiB, two passes, one
lane. Four digits at least: IEC 60839-11-1 asks so much of a stand-in PIN beside biometrics.
"""

from __future__ import annotations

import argon2

LEAST_DIGITS, MOST_DIGITS = 4, 12
MOST_NUMBER = 10
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_LONGEST_HASH = 200


def pin_secret(number: str, pin: str) -> bytes:
    """The secret of a credential for this number and PIN; ValueError says what is wrong, quoting neither."""
    if not is_number(number):
        raise ValueError(f"a number has 1 to {MOST_NUMBER} digits")
    if not is_pin(pin):
        raise ValueError(f"a PIN has {LEAST_DIGITS} to {MOST_DIGITS} digits")
    if len(set(pin)) == 1 or pin in "01234567890123" or pin in "98765432109876":
        raise ValueError("a PIN of one digit repeated, or of digits in a row, is guessed first; choose another")
    return number.encode() + b"\0" + _HASHER.hash(pin).encode()


def is_right(secret: bytes, pin: str) -> bool:
    """Whether `pin` is the one that the secret was made of; false for whatever is no such secret."""
    _, _, kept = secret.partition(b"\0")
    if not is_pin(pin) or not 0 < len(kept) <= _LONGEST_HASH:
        return False
    try:
        return _HASHER.verify(kept.decode("ascii"), pin)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError, UnicodeDecodeError):
        return False


def waste() -> None:
    """Take as long as a check does: so that nobody learns from the time whether a number is given out."""
    is_right(_NOBODYS, "0" * LEAST_DIGITS)


def is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_NUMBER


def is_pin(text: str) -> bool:
    return text.isascii() and text.isdigit() and LEAST_DIGITS <= len(text) <= MOST_DIGITS


def typed(number: str, pin: str) -> bytes:
    """What was typed, as `door.types.CredentialShown` carries it."""
    return f"{number}*{pin}".encode("ascii")


def split(shown: bytes) -> tuple[str, str] | None:
    """(number, PIN) of what `typed` made; None where it is nothing like it. The number may be empty."""
    try:
        number, star, pin = shown.decode("ascii").partition("*")
    except UnicodeDecodeError:
        return None
    return (number, pin) if star and (not number or is_number(number)) and is_pin(pin) else None


_NOBODYS = b"0\0" + _HASHER.hash("31415926").encode()
