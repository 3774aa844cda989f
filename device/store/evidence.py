"""Pictures of attacks, where the site has switched that on: sealed, counted, and gone after their time.

Off by default (`evidence.days = 0`). A picture is handed over by reference and written by a thread of its own; where
the disk is full or too many wait, there is no picture, and the door goes on. Each lies in a file of its own, named by
its moment, sealed under the terminal's key; `doorctl evidence` lists them, shows one and removes them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from device.errors import SealBroken, StoreError, UsageError
from device.store.seal import Key, Sealer

MOST_KEPT = 500
PURPOSE = "evidence"
_NAME = re.compile(r"\d{8}T\d{12}Z\.sealed")


@dataclass(frozen=True, slots=True)
class Kept:
    """One picture; `name` is its file's."""

    name: str
    at: datetime
    size: int


class Evidence:
    """The pictures of one terminal. Any number of processes may read; doord alone writes.

    days  after which a picture goes
    """

    def __init__(self, folder: Path, key: Key, days: float) -> None:
        self._folder, self._sealer, self._days = folder, Sealer(key), days

    def keep(self, at: datetime, jpeg: bytes) -> str:
        """Seal and write a picture; its name. StoreError where it cannot be written."""
        name = f"{at.astimezone(timezone.utc):%Y%m%dT%H%M%S%f}Z.sealed"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = self._folder / f".{name}"
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self._sealer.seal(jpeg, PURPOSE, name))
            fresh.replace(self._folder / name)
        except OSError as error:
            raise StoreError(f"{self._folder}: a picture cannot be kept ({error.strerror})") from None
        return name

    def kept(self) -> list[Kept]:
        """All of them, oldest first."""
        paths = sorted(self._folder.glob("*.sealed")) if self._folder.is_dir() else []
        return [Kept(path.name, _moment(path.name), path.stat().st_size) for path in paths
                if _NAME.fullmatch(path.name)]

    def picture(self, name: str) -> bytes:
        """The JPEG; UsageError where there is none of that name, SealBroken where it does not open."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no picture's name; `doorctl evidence` lists them")
        try:
            sealed = (self._folder / name).read_bytes()
        except FileNotFoundError:
            raise UsageError(f"there is no picture {name}; `doorctl evidence` lists them") from None
        except OSError as error:
            raise StoreError(f"{name}: cannot be read ({error.strerror})") from None
        try:
            return self._sealer.unseal(sealed, PURPOSE, name)
        except SealBroken:
            raise SealBroken(f"{name} does not open: altered, or sealed under another key") from None

    def remove(self, name: str) -> None:
        """UsageError where there is none of that name."""
        if not _NAME.fullmatch(name) or not (self._folder / name).exists():
            raise UsageError(f"there is no picture {name!r}; `doorctl evidence` lists them")
        (self._folder / name).unlink()

    def sweep(self, now: datetime) -> int:
        """Remove what is too old or too much, and what a kill left half written; how many went."""
        kept = self.kept()
        due = {one.name for one in kept if now - one.at > timedelta(days=self._days)}
        due |= {one.name for one in kept[:max(len(kept) - MOST_KEPT, 0)]}
        halves = list(self._folder.glob(".*.sealed")) if self._folder.is_dir() else []
        for path in [*(self._folder / name for name in due), *halves]:
            path.unlink(missing_ok=True)
        return len(due)


def _moment(name: str) -> datetime:
    return datetime.strptime(name.partition("Z")[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=timezone.utc)
