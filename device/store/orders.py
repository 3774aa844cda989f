"""What the hub may order a terminal to do, as signed values; doord reads them, `sync.wire` sends them.

Times are whole milliseconds since the Unix epoch, UTC. A command is executed once, in the boot it was meant for,
before it expires, or never. Desired state holds until told otherwise, over restarts.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from device.store.trust import MessageRefused

T = TypeVar("T")

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Short = Annotated[str, Meta(max_length=200)]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Body = Annotated[bytes, Meta(max_length=1_500_000)]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False, tag_field="type"):
    """Common form: a map with a `type`; unknown fields of newer versions are passed over."""


class Desired(Message, frozen=True, kw_only=True, tag="desired"):
    """Which state the terminal is to hold; a lower version than one applied already is passed over."""

    terminal_id: Id
    version: Count
    sealed: Body  # DesiredBody, to the terminal, bound to place("desired", terminal_id, version)


class Order(Message, frozen=True, kw_only=True, tag="command"):
    """A command: once, now, in this boot of the terminal, or never."""

    terminal_id: Id
    command_id: Id
    boot_id: Id
    issued_ms: Count
    expires_ms: Count
    sealed: Body  # OrderBody, to the terminal, bound to place("command", terminal_id, command_id)


class DesiredBody(msgspec.Struct, frozen=True):
    """Mode and configuration version that the terminal is to hold until told otherwise."""

    mode: Literal["normal", "free", "lockdown"] = "normal"
    mode_until_ms: Count | None = None
    config_version: Count = 0


class OrderBody(msgspec.Struct, frozen=True):
    """What to do: release for some seconds, reset the alarm, reboot, start an update, report."""

    verb: Literal["release", "reset", "reboot", "update", "report"]
    seconds: Annotated[float, Meta(gt=0, le=60)] | None = None
    argument: Short = ""


def read(data: bytes, kind: type[T]) -> T:
    """A message or body of the expected kind; MessageRefused where the bytes are none."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"not a {kind.__name__}: {error}") from None
