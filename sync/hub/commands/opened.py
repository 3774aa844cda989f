"""What the commands share: the open hub, and arguments read strictly."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from device.clock import SystemClock
from device.errors import UsageError
from sync.hub.errors import NotThere
from sync.hub.hub import Hub
from sync.hub.places import Places, places
from sync.hub.times import checked


def where(arguments: argparse.Namespace) -> Places:
    """The places that --state names, else FLEETHUB_STATE, else the default."""
    return places(root=arguments.state)


@contextlib.contextmanager
def the_hub(arguments: argparse.Namespace, is_new: bool = False) -> Iterator[Hub]:
    """The hub, open; a running one notices by itself what a command changes."""
    hub = Hub.open(where(arguments), SystemClock(), is_new=is_new)
    try:
        yield hub
    finally:
        hub.close()


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document")


def moment(text: str, zone: timezone = timezone.utc) -> datetime:
    """A time like 2026-03-01, 2026-03-01T08:30 or 2026-03-01T08:30+08:00; without a zone it is `zone`'s."""
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no time like 2026-03-01 or 2026-03-01T08:30+08:00") from None
    return checked(f"the time {text[:40]!r}", at if at.tzinfo else at.replace(tzinfo=zone))


def zone_of(text: str) -> timezone:
    """An offset like +08:00."""
    try:
        offset = datetime.strptime(text, "%z").utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        raise UsageError(f"{text[:20]!r} is no offset from UTC like +08:00")
    return timezone(offset)


def span(text: str) -> timedelta:
    """A span like 30s, 15m, 2h or 3d."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if text[-1:] not in units or not text[:-1].isascii() or not text[:-1].isdigit() or len(text) > 7:
        raise UsageError(f"{text[:20]!r} is no span like 30s, 15m, 2h or 3d")
    return timedelta(seconds=int(text[:-1]) * units[text[-1]])


def person_id_of(hub: Hub, given: str) -> str:
    """The person whose id begins with `given` (at least four digits), or whose external id it is."""
    if (found := hub.people.find(given)) is not None:
        return found
    begins = hub.people.beginning_with(given) if len(given) >= 4 else []
    if len(begins) != 1:
        reason = f"{len(begins)} people have" if len(given) >= 4 else "give at least 4 digits of"
        raise NotThere(f"{reason} an id that begins with {given[:40]!r}; see `fleethub person list`")
    return begins[0]


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a file, at most `most` and one; UsageError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
