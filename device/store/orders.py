"""What the hub says to doord, as signed values: commands, desired state, and the time; `sync.wire` sends them.

Times are whole milliseconds since the Unix epoch, UTC. A command is executed once, in the boot it was meant for,
before it expires, or never. Desired state holds until told otherwise, over restarts. All of it is sealed to the
terminal: on its way, nothing but the topic can be read.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from device.store.trust import VERSION, MessageRefused, Opener, bound, place

T = TypeVar("T")

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Short = Annotated[str, Meta(max_length=200)]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Body = Annotated[bytes, Meta(max_length=1_500_000)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False, tag_field="type"):
    """Common form: a map with a `type`; unknown fields of newer versions are passed over."""


class Sealed(Message, frozen=True, kw_only=True, tag="sealed"):
    """A message for one receiver alone, sealed to it and bound to the topic it travels on (`trust.bound`)."""

    sealed: Body


class Desired(Message, frozen=True, kw_only=True, tag="desired"):
    """Mode and version of the configuration that the terminal is to hold until told otherwise; a lower version than
    one applied already is passed over."""

    terminal_id: Id
    version: Count
    mode: Literal["normal", "free", "lockdown"] = "normal"
    mode_until_ms: Count | None = None
    config_version: Count = 0


class Order(Message, frozen=True, kw_only=True, tag="command"):
    """A command: once, now, in this boot of the terminal, or never.

    verb  release for some seconds, reset the alarm, reboot, start an update, report
    """

    terminal_id: Id
    command_id: Id
    boot_id: Id
    issued_ms: Count
    expires_ms: Count
    verb: Literal["release", "reset", "reboot", "update", "report"]
    seconds: Annotated[float, Meta(gt=0, le=60)] | None = None
    argument: Short = ""


class Head(Message, frozen=True, kw_only=True, tag="head"):
    """Where a stream stands; published every minute, so that silence is noticed."""

    site: Id
    stream: Id
    epoch: Id
    seq: Count
    sealed: Body  # HeadBody, under the group's key or to the terminal


class HeadBody(msgspec.Struct, frozen=True):
    """What only the receivers of a head may read.

    number            rises with every word of this hub, whatever becomes of its clock: by it a later head is known
    boot_id, session  of a head sealed to one terminal: what its last report named, so that the terminal knows that
                      the hub has said this since
    """

    digest: Hash
    issued_ms: Count
    number: Count
    boot_id: Short = ""
    session: Short = ""


def read(data: bytes, kind: type[T]) -> T:
    """A message or body of the expected kind; MessageRefused where the bytes are none."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"not a {kind.__name__}: {error}") from None


def unseal(payload: bytes, topic: str, opener: Opener, kind: type[T]) -> T:
    """The message for this terminal in what was signed for `topic`; MessageRefused where it is of another kind,
    SealBroken where it was sealed to somebody else."""
    return read(opener.open(read(payload, Sealed).sealed, bound(topic)), kind)


def unseal_head(payload: bytes, opener: Opener) -> tuple[Head, HeadBody]:
    """A head that was sealed to this terminal, and what it says; errors as `unseal`."""
    head = read(payload, Head)
    return head, read(opener.open(head.sealed, head_place(head)), HeadBody)


def head_place(head: Head) -> bytes:
    """What a head's sealed part is bound to."""
    return place("head", VERSION, head.site, head.stream, head.epoch, head.seq)
