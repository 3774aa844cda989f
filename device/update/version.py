"""Version: three numbers, compared as numbers. What names a release, its folder and its bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """As in 1.12.0; one release has one spelling, so that its folder has one name."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: object) -> Version:
        """ValueError where `text` is anything but three numbers without leading zeros, joined by dots."""
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"{str(text)[:40]!r} is not a version of three numbers, like 1.12.0")
        return cls(*(int(number) for number in found.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def is_version(text: str) -> bool:
    return _FORM.fullmatch(text) is not None
